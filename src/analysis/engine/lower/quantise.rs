//! `QuantizeLinear` and `DequantizeLinear`: where values become 8-bit, and what the numbers of the
//! model stand for.

use tract_onnx::pb::tensor_proto::DataType;

use super::form::{Expr, Form, Weights};
use super::tensor;
use super::walk::{Made, Node, Walk};
use crate::analysis::engine::int8::program::Quant;

impl<'m> Walk<'_, 'm> {
    /// f32 to 8 bits: every part of the input gets its layers.
    pub(super) fn quantise(&mut self, node: Node<'m>) -> Made<'m> {
        let known = ["axis", "saturate", "output_dtype", "block_size", "precision"];
        let attributes = node.attributes(&known)?;
        attributes.must_be("saturate", 1)?;
        attributes.must_be("block_size", 0)?;
        attributes.must_be("precision", 0)?;
        let (quant, signed) =
            self.scale_and_zero_point(node, attributes.int("output_dtype", 0)?)?;
        let exprs = self.real(node, 0)?.to_vec();
        let name = node.name();
        let values = exprs
            .iter()
            .map(|expr| self.layers.rounded(expr, quant, &name))
            .collect::<Result<Vec<_>, _>>()?;
        let became =
            format!("8-bit values, scale {}, zero point {}", quant.scale, quant.zero_point);
        Ok((Form::Quantised { values, signed }, became))
    }

    /// What 8-bit values or quantised constants stand for.
    pub(super) fn dequantise(&mut self, node: Node<'m>) -> Made<'m> {
        let attributes = node.attributes(&["axis", "block_size", "output_dtype"])?;
        attributes.must_be("block_size", 0)?;
        attributes.must_be("output_dtype", 0)?;
        match self.form(node, 0)? {
            Form::Quantised { values, signed } => {
                let (values, signed) = (values.clone(), *signed);
                let (quant, as_signed) = self.scale_and_zero_point(node, 0)?;
                for &id in &values {
                    let made = self.layers.quant(id)?;
                    if made != quant || signed != as_signed {
                        return Err(format!(
                            "reads with {quant:?} what was quantised with {made:?}"
                        ));
                    }
                }
                let exprs = values.into_iter().map(Expr::Value).collect();
                Ok((Form::Real(exprs), "the 8-bit values as they are".into()))
            }
            Form::Constant(held) => match tensor::kind(held)? {
                DataType::Int8 => self.weights(node, attributes.int("axis", 1)?),
                DataType::Int32 => self.biases(node),
                kind => Err(format!("dequantises a constant of type {kind:?}")),
            },
            _ => Err("dequantises what is not quantised".into()),
        }
    }

    /// Scale and zero point of activations, and whether the model writes them as i8.
    fn scale_and_zero_point(&self, node: Node<'m>, written: i64) -> Result<(Quant, bool), String> {
        node.reads_at_most(3)?;
        let scales = self.scales(node)?;
        let [scale] = scales[..] else {
            return Err(format!("{} scales for activations, only one is supported", scales.len()));
        };
        let (zero_point, signed) = match node.input(2) {
            None => (0, written == DataType::Int8 as i64),
            Some(_) => {
                let held = self.held(node, 2)?;
                match tensor::kind(held)? {
                    DataType::Uint8 => (only(&tensor::bytes(held)?)?, false),
                    // 128 more, for the number and for its zero point.
                    DataType::Int8 => {
                        (only(&tensor::signed_bytes(held)?)?.cast_unsigned() ^ 128, true)
                    }
                    kind => {
                        return Err(format!("a zero point of type {kind:?}, expected u8 or i8"));
                    }
                }
            }
        };
        let kind = if signed { DataType::Int8 } else { DataType::Uint8 };
        if written != 0 && written != kind as i64 {
            return Err(format!("attribute output_dtype is {written}, the zero point is {kind:?}"));
        }
        let zero_point = if signed && node.input(2).is_none() { 128 } else { zero_point };
        Ok((Quant { scale, zero_point }, signed))
    }

    /// Input 1: one scale, or several along one axis; all positive.
    fn scales(&self, node: Node<'m>) -> Result<Vec<f32>, String> {
        let held = self.held(node, 1)?;
        let scales = tensor::floats(held)?;
        if held.dims.len() > 1 {
            return Err(format!("scales with sides {:?}, expected one axis", held.dims));
        }
        match scales.iter().find(|&&scale| scale <= 0.0) {
            None => Ok(scales),
            Some(scale) => Err(format!("scale {scale} is not positive")),
        }
    }

    fn weights(&self, node: Node<'m>, axis: i64) -> Made<'m> {
        node.reads_at_most(3)?;
        let (held, scales) = (self.held(node, 0)?, self.scales(node)?);
        let sides = tensor::sides(held)?;
        if node.input(2).is_some()
            && tensor::signed_bytes(self.held(node, 2)?)?.iter().any(|&zero| zero != 0)
        {
            return Err("weights with a zero point, only symmetric ones are supported".into());
        }
        let axis = if scales.len() == 1 { None } else { Some(place(axis, sides.len())?) };
        if let Some(axis) = axis
            && sides[axis] != scales.len()
        {
            return Err(format!("{} scales along axis {axis} of {sides:?}", scales.len()));
        }
        let each = if axis.is_some() { "per channel" } else { "for all" };
        let became = format!("8-bit weights, scales {each}");
        Ok((Form::Weights(Weights { tensor: held, scales, axis }), became))
    }

    fn biases(&self, node: Node<'m>) -> Made<'m> {
        node.reads_at_most(3)?;
        let (held, scales) = (self.held(node, 0)?, self.scales(node)?);
        if node.input(2).is_some()
            && tensor::words(self.held(node, 2)?)?.iter().any(|&zero| zero != 0)
        {
            return Err("biases with a zero point".into());
        }
        let numbers = tensor::words(held)?;
        if held.dims.len() != 1 || (scales.len() != 1 && scales.len() != numbers.len()) {
            return Err(format!("{} scales for biases with sides {:?}", scales.len(), held.dims));
        }
        let scales = scales.iter().cycle();
        let real = |(&number, &scale): (&i32, &f32)| f64::from(number) * f64::from(scale);
        let numbers = numbers.iter().zip(scales).map(real).collect();
        Ok((Form::Numbers(numbers), "biases in f32".into()))
    }
}

/// An axis counted from the front.
pub(super) fn place(axis: i64, rank: usize) -> Result<usize, String> {
    let found = usize::try_from(if axis < 0 { axis.saturating_add(rank as i64) } else { axis });
    found
        .ok()
        .filter(|&axis| axis < rank)
        .ok_or_else(|| format!("attribute axis is {axis}, for {rank} axes"))
}

fn only<T: Copy>(values: &[T]) -> Result<T, String> {
    match values[..] {
        [value] => Ok(value),
        _ => Err(format!("{} zero points for activations, only one is supported", values.len())),
    }
}
