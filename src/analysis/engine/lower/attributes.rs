//! Attributes of a node. One that is not expected is refused, because it may change what the node
//! computes.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};

use super::clipped;
use crate::analysis::engine::int8::program::{MAX_KERNEL, Window};

/// The attributes of one node.
pub(super) struct Attributes<'m> {
    node: &'m NodeProto,
}

impl<'m> Attributes<'m> {
    /// Refuses what is not in `expected`, and what is there twice.
    pub(super) fn new(node: &'m NodeProto, expected: &[&str]) -> Result<Self, String> {
        for (index, attribute) in node.attribute.iter().enumerate() {
            let name = attribute.name.as_str();
            if !expected.contains(&name) {
                return Err(format!("attribute {} is not supported", clipped(name)));
            }
            if node.attribute[..index].iter().any(|earlier| earlier.name == name) {
                return Err(format!("attribute {name} is there twice"));
            }
        }
        Ok(Self { node })
    }

    fn find(&self, name: &str, kind: AttributeType) -> Result<Option<&'m AttributeProto>, String> {
        let Some(found) = self.node.attribute.iter().find(|attribute| attribute.name == name)
        else {
            return Ok(None);
        };
        if found.r#type == kind as i32 && found.ref_attr_name.is_empty() {
            return Ok(Some(found));
        }
        Err(format!("attribute {name} has type {}, expected {kind:?}", found.r#type))
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, String> {
        Ok(self.find(name, AttributeType::Int)?.map_or(default, |attribute| attribute.i))
    }

    pub(super) fn float(&self, name: &str, default: f32) -> Result<f32, String> {
        let value = self.find(name, AttributeType::Float)?.map_or(default, |attribute| attribute.f);
        if value.is_finite() { Ok(value) } else { Err(format!("attribute {name} is {value}")) }
    }

    pub(super) fn text(&self, name: &str, default: &'static str) -> Result<&'m str, String> {
        let Some(found) = self.find(name, AttributeType::String)? else { return Ok(default) };
        std::str::from_utf8(&found.s).map_err(|_| format!("attribute {name} is not text"))
    }

    pub(super) fn tensor(&self, name: &str) -> Result<Option<&'m TensorProto>, String> {
        Ok(self.find(name, AttributeType::Tensor)?.and_then(|attribute| attribute.t.as_ref()))
    }

    /// An attribute that must have this value, also by default.
    pub(super) fn must_be(&self, name: &str, expected: i64) -> Result<(), String> {
        let found = self.int(name, expected)?;
        if found == expected {
            return Ok(());
        }
        Err(format!("attribute {name} is {found}, only {expected} is supported"))
    }

    fn list<const COUNT: usize>(
        &self,
        name: &str,
        default: Option<[usize; COUNT]>,
    ) -> Result<[usize; COUNT], String> {
        let Some(found) = self.find(name, AttributeType::Ints)? else {
            return default.ok_or_else(|| format!("attribute {name} is missing"));
        };
        let small: Vec<usize> =
            found.ints.iter().filter_map(|&value| usize::try_from(value).ok()).collect();
        let values: Option<[usize; COUNT]> =
            if small.len() == found.ints.len() { small.try_into().ok() } else { None };
        values.ok_or_else(|| {
            let first = &found.ints[..found.ints.len().min(8)];
            format!("attribute {name} is {first:?}, expected {COUNT} numbers, none negative")
        })
    }

    /// The window of a convolution or a pool over three axes; `kernel` where the weights tell its
    /// sides.
    pub(super) fn window(&self, kernel: Option<[usize; 3]>) -> Result<Window, String> {
        let sides = self.list("kernel_shape", kernel)?;
        if kernel.is_some_and(|kernel| kernel != sides) {
            return Err(format!("attribute kernel_shape is {sides:?}, the weights say {kernel:?}"));
        }
        let stride = self.list("strides", Some([1; 3]))?;
        let pads: [usize; 6] = self.list("pads", Some([0; 6]))?;
        let dilations: [usize; 3] = self.list("dilations", Some([1; 3]))?;
        if dilations != [1; 3] {
            return Err(format!("attribute dilations is {dilations:?}, only 1 is supported"));
        }
        let auto_pad = self.text("auto_pad", "NOTSET")?;
        if auto_pad != "NOTSET" {
            return Err(format!(
                "attribute auto_pad is {}, only NOTSET is supported",
                clipped(auto_pad)
            ));
        }
        let [z, y, x, after_z, after_y, after_x] = pads;
        let (before, after) = ([z, y, x], [after_z, after_y, after_x]);
        for axis in 0..3 {
            let small = |value: usize| (1..=MAX_KERNEL).contains(&value);
            if !small(sides[axis]) || !small(stride[axis]) {
                return Err(format!(
                    "kernel {sides:?} with stride {stride:?}, only 1 to {MAX_KERNEL} is supported"
                ));
            }
            if before[axis] >= sides[axis] || after[axis] >= sides[axis] {
                return Err(format!("padding {pads:?} is not smaller than the kernel {sides:?}"));
            }
        }
        Ok(Window { kernel: sides, stride, before, after })
    }

    /// `output_padding` of a transposed convolution.
    pub(super) fn output_padding(&self) -> Result<[usize; 3], String> {
        self.list("output_padding", Some([0; 3]))
    }
}
