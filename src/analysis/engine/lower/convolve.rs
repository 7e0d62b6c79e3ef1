//! `Conv` and `ConvTranspose` over dequantised values: nothing is computed until somebody asks for the
//! result in 8 bits or in f32.

use std::rc::Rc;

use super::form::{Expr, Form, Path, Pending, Source, Sum};
use super::walk::{Made, Node, Walk};
use super::{MAX_WEIGHTS, tensor};
use crate::analysis::engine::int8::program::{MAX_CHANNELS, ValueId};

/// 8-bit weights as they are in the model.
struct Read {
    sides: [usize; 5],
    numbers: Vec<i8>,
    /// One per output channel.
    scales: Vec<f64>,
}

impl<'m> Walk<'_, 'm> {
    /// `[out, in, kz, ky, kx]` weights.
    pub(super) fn convolution(&mut self, node: Node<'m>) -> Made<'m> {
        node.reads_at_most(3)?;
        let known = ["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];
        let attributes = node.attributes(&known)?;
        attributes.must_be("group", 1)?;
        let read = self.read_weights(node, 0)?;
        let [channels, _, z, y, x] = read.sides;
        let window = attributes.window(Some([z, y, x]))?;
        let became = format!(
            "a convolution {z}×{y}×{x} with stride {:?}, {} to {channels} channels",
            window.stride, read.sides[1]
        );
        let sum = self.pending(node, read, (channels, Path::Window(window)))?;
        Ok((Form::Real(vec![sum]), became))
    }

    /// `[in, out, kz, ky, kx]` weights, stride = kernel, no padding.
    pub(super) fn transposed(&mut self, node: Node<'m>) -> Made<'m> {
        node.reads_at_most(3)?;
        let known =
            ["auto_pad", "dilations", "group", "kernel_shape", "output_padding", "pads", "strides"];
        let attributes = node.attributes(&known)?;
        attributes.must_be("group", 1)?;
        let mut read = self.read_weights(node, 1)?;
        let [inputs, channels, z, y, x] = read.sides;
        let window = attributes.window(Some([z, y, x]))?;
        let padding = (window.before, window.after, attributes.output_padding()?);
        if window.stride != window.kernel || padding != ([0; 3], [0; 3], [0; 3]) {
            return Err(format!(
                "kernel {:?}, stride {:?}, padding {padding:?}: only a stride that is the kernel, \
                 without padding, is supported",
                window.kernel, window.stride
            ));
        }
        let taps = z * y * x;
        let swapped = (0..channels).flat_map(|out| (0..inputs).map(move |from| (from, out)));
        read.numbers = swapped
            .flat_map(|(from, out)| &read.numbers[(from * channels + out) * taps..][..taps])
            .copied()
            .collect();
        let became =
            format!("a transposed convolution {z}×{y}×{x}, {inputs} to {channels} channels");
        let sum = self.pending(node, read, (channels, Path::Block(window.kernel)))?;
        Ok((Form::Real(vec![sum]), became))
    }

    /// Input 1; `out` is the axis of the output channels.
    fn read_weights(&mut self, node: Node<'m>, out: usize) -> Result<Read, String> {
        let weights = match self.form(node, 1)? {
            Form::Weights(weights) => weights.clone(),
            Form::Constant(_) => return Err("the weights are not quantised".into()),
            _ => return Err("the weights are not constant".into()),
        };
        let sides: [usize; 5] = tensor::sides(weights.tensor)?.try_into().map_err(|sides| {
            format!("weights with sides {sides:?}, only three axes are supported")
        })?;
        if sides[0] > MAX_CHANNELS || sides[1] > MAX_CHANNELS {
            return Err(format!(
                "weights with sides {sides:?}, the limit is {MAX_CHANNELS} channels"
            ));
        }
        self.weights = self.weights.saturating_add(sides.iter().product::<usize>());
        if self.weights > MAX_WEIGHTS {
            return Err(format!("the weights of all convolutions are more than {MAX_WEIGHTS}"));
        }
        let scales: Vec<f64> = match weights.axis {
            None => vec![f64::from(weights.scales[0]); sides[out]],
            Some(axis) if axis == out => weights.scales.iter().map(|&s| f64::from(s)).collect(),
            Some(axis) => {
                return Err(format!(
                    "weight scales along axis {axis}, output channels are axis {out}"
                ));
            }
        };
        Ok(Read { sides, numbers: tensor::signed_bytes(weights.tensor)?, scales })
    }

    fn pending(
        &self,
        node: Node<'m>,
        read: Read,
        (channels, path): (usize, Path),
    ) -> Result<Expr, String> {
        let inputs = self.eight_bit(node)?;
        if matches!(path, Path::Block(_)) && inputs.len() != 1 {
            return Err("reads concatenated values, only a convolution can".into());
        }
        let first = self.layers.quant(inputs[0])?;
        for &id in &inputs {
            let quant = self.layers.quant(id)?;
            if quant != first {
                return Err(format!("reads values with {first:?} and with {quant:?} together"));
            }
        }
        let count: usize = inputs.iter().map(|&id| self.layers.values[id].channels).sum();
        let expected = if matches!(path, Path::Block(_)) { read.sides[0] } else { read.sides[1] };
        if count != expected {
            return Err(format!("reads {count} channels with weights for {expected}"));
        }
        let bias = match node.input(2) {
            Some(_) => self.numbers(node, 2, channels)?,
            None => vec![0.0; channels],
        };
        let unit = f64::from(first.scale);
        let scale = read.scales.iter().map(|weight| unit * weight).collect();
        let (name, weights) = (node.name(), read.numbers);
        let pending = Pending { node: node.place, name, channels, inputs, path, weights };
        Ok(Expr::Sum(Sum::of(Source::Pending(Rc::new(pending)), scale, bias)))
    }

    /// Input 0 as 8-bit values.
    fn eight_bit(&self, node: Node<'m>) -> Result<Vec<ValueId>, String> {
        let value = |expr: &Expr| match expr {
            Expr::Value(id) => Ok(*id),
            _ => Err("reads values that are not rounded to 8 bits".to_string()),
        };
        self.real(node, 0)?.iter().map(value).collect()
    }
}
