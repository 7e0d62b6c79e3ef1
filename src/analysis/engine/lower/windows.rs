//! Pools and the doubling of sides, over dequantised values.

use super::form::{Expr, Form};
use super::walk::{Made, Node, Walk};
use super::{clipped, tensor};

impl<'m> Walk<'_, 'm> {
    /// Exact in the scale of its input, so it needs no rounding after it.
    pub(super) fn max_pool(&mut self, node: Node<'m>) -> Made<'m> {
        let known = [
            "auto_pad",
            "ceil_mode",
            "dilations",
            "kernel_shape",
            "pads",
            "storage_order",
            "strides",
        ];
        let attributes = node.attributes(&known)?;
        attributes.must_be("ceil_mode", 0)?;
        attributes.must_be("storage_order", 0)?;
        let window = attributes.window(None)?;
        let (exprs, name) = (self.real(node, 0)?.to_vec(), node.name());
        let pooled = exprs
            .iter()
            .map(|expr| match expr {
                &Expr::Value(id) => Ok(Expr::Value(self.layers.largest(id, window, &name)?)),
                _ => Err("reads values that are not rounded to 8 bits".to_string()),
            })
            .collect::<Result<_, _>>()?;
        Ok((Form::Real(pooled), format!("the largest of windows {:?}", window.kernel)))
    }

    pub(super) fn average_pool(&mut self, node: Node<'m>) -> Made<'m> {
        let known = [
            "auto_pad",
            "ceil_mode",
            "count_include_pad",
            "dilations",
            "kernel_shape",
            "pads",
            "strides",
        ];
        let attributes = node.attributes(&known)?;
        attributes.must_be("ceil_mode", 0)?;
        let window = attributes.window(None)?;
        let padded = (window.before, window.after) != ([0; 3], [0; 3]);
        if padded && attributes.int("count_include_pad", 0)? != 0 {
            return Err("counts padded voxels".into());
        }
        let parts = self.values(node, |id| Expr::Mean(id, window))?;
        Ok((parts, format!("the mean of windows {:?}", window.kernel)))
    }

    /// Twice the sides, trilinear, voxel edges aligned.
    pub(super) fn resize(&mut self, node: Node<'m>) -> Made<'m> {
        let known = [
            "antialias",
            "coordinate_transformation_mode",
            "cubic_coeff_a",
            "exclude_outside",
            "extrapolation_value",
            "keep_aspect_ratio_policy",
            "mode",
            "nearest_mode",
        ];
        let attributes = node.attributes(&known)?;
        attributes.must_be("antialias", 0)?;
        attributes.must_be("exclude_outside", 0)?;
        let mode = attributes.text("mode", "nearest")?;
        let places = attributes.text("coordinate_transformation_mode", "half_pixel")?;
        // The two differ where a side becomes 1, which a doubled side is not.
        let aligned =
            matches!(places, "half_pixel" | "pytorch_half_pixel") && self.graph.opset >= 11;
        if mode != "linear" || !aligned {
            let (mode, places) = (clipped(mode), clipped(places));
            return Err(format!(
                "mode {mode} with {places}, only linear with half_pixel is supported"
            ));
        }
        if node.input(3).is_some() {
            return Err("sizes instead of scales".into());
        }
        let scales = tensor::floats(self.held(node, 2)?)?;
        if scales != [1.0, 1.0, 2.0, 2.0, 2.0] {
            let first = &scales[..scales.len().min(8)];
            return Err(format!("scales {first:?}, only doubling three axes is supported"));
        }
        let parts = self.values(node, Expr::Double)?;
        Ok((parts, "each side doubled".into()))
    }

    /// Every part of input 0, which must be 8-bit values.
    fn values(&self, node: Node<'m>, made: impl Fn(usize) -> Expr) -> Result<Form<'m>, String> {
        let part = |expr: &Expr| match expr {
            Expr::Value(id) => Ok(made(*id)),
            _ => Err("reads values that are not rounded to 8 bits".to_string()),
        };
        Ok(Form::Real(self.real(node, 0)?.iter().map(part).collect::<Result<_, _>>()?))
    }
}
