//! Reads a constant of the model: its type, its sides and its numbers must agree with each other.

use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};

use super::clipped;

/// The most elements of one constant.
const MAX_ELEMENTS: usize = 1 << 28;
/// The most axes of one constant.
const MAX_AXES: usize = 8;

/// Whether the numbers lie in another file.
pub(super) fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty()
}

/// Sides, all positive.
pub(super) fn sides(tensor: &TensorProto) -> Result<Vec<usize>, String> {
    let (name, rank) = (clipped(&tensor.name), tensor.dims.len());
    if rank > MAX_AXES {
        return Err(format!("constant {name} has {rank} axes, the limit is {MAX_AXES}"));
    }
    let sides: Vec<usize> =
        tensor.dims.iter().filter_map(|&side| usize::try_from(side).ok()).collect();
    let count = sides.iter().try_fold(1usize, |count, &side| count.checked_mul(side));
    let good = count.is_some_and(|count| (1..=MAX_ELEMENTS).contains(&count));
    if sides.len() == rank && good {
        return Ok(sides);
    }
    let found = &tensor.dims;
    Err(format!("constant {name} has sides {found:?}, expected 1 to {MAX_ELEMENTS} elements"))
}

/// What the elements are.
pub(super) fn kind(tensor: &TensorProto) -> Result<DataType, String> {
    DataType::try_from(tensor.data_type).map_err(|_| {
        format!("constant {} has the unknown type {}", clipped(&tensor.name), tensor.data_type)
    })
}

/// f32 elements, all finite.
pub(super) fn floats(tensor: &TensorProto) -> Result<Vec<f32>, String> {
    let values = elements(tensor, DataType::Float, &tensor.float_data, f32::from_le_bytes)?;
    match values.iter().find(|value| !value.is_finite()) {
        None => Ok(values),
        Some(value) => Err(format!("constant {} contains {value}", clipped(&tensor.name))),
    }
}

/// i32 elements.
pub(super) fn words(tensor: &TensorProto) -> Result<Vec<i32>, String> {
    elements(tensor, DataType::Int32, &tensor.int32_data, i32::from_le_bytes)
}

/// i64 elements.
pub(super) fn longs(tensor: &TensorProto) -> Result<Vec<i64>, String> {
    elements(tensor, DataType::Int64, &tensor.int64_data, i64::from_le_bytes)
}

/// i8 elements.
pub(super) fn signed_bytes(tensor: &TensorProto) -> Result<Vec<i8>, String> {
    let written = narrowed(tensor)?;
    elements(tensor, DataType::Int8, &written, i8::from_le_bytes)
}

/// u8 elements.
pub(super) fn bytes(tensor: &TensorProto) -> Result<Vec<u8>, String> {
    let written = narrowed(tensor)?;
    elements(tensor, DataType::Uint8, &written, u8::from_le_bytes)
}

/// One truth value.
pub(super) fn truth(tensor: &TensorProto) -> Result<bool, String> {
    let written: Vec<u8> = narrowed(tensor)?;
    let values = elements(tensor, DataType::Bool, &written, u8::from_le_bytes)?;
    match values[..] {
        [value] => Ok(value != 0),
        _ => Err(format!(
            "constant {} has {} elements, expected one",
            clipped(&tensor.name),
            values.len()
        )),
    }
}

/// Elements that were written as 32-bit words in fewer bits.
fn narrowed<T: TryFrom<i32>>(tensor: &TensorProto) -> Result<Vec<T>, String> {
    let narrow = |&word: &i32| {
        T::try_from(word).map_err(|_| {
            format!(
                "constant {} contains {word}, which its type does not hold",
                clipped(&tensor.name)
            )
        })
    };
    tensor.int32_data.iter().map(narrow).collect()
}

/// From the raw bytes, or as `written` in the field for their type.
fn elements<T: Copy, const BYTES: usize>(
    tensor: &TensorProto,
    expected: DataType,
    written: &[T],
    from_bytes: impl Fn([u8; BYTES]) -> T,
) -> Result<Vec<T>, String> {
    let (name, found) = (clipped(&tensor.name), kind(tensor)?);
    if found != expected {
        return Err(format!("constant {name} is of type {found:?}, expected {expected:?}"));
    }
    if is_external(tensor) {
        return Err(format!("constant {name} lies in another file"));
    }
    let count = sides(tensor)?.iter().product::<usize>();
    let (words, rest) = tensor.raw_data.as_chunks::<BYTES>();
    let present = if tensor.raw_data.is_empty() { written.len() } else { words.len() };
    if present != count || !rest.is_empty() {
        return Err(format!("constant {name} has {present} elements, its sides say {count}"));
    }
    if tensor.raw_data.is_empty() {
        return Ok(written.to_vec());
    }
    Ok(words.iter().map(|&word| from_bytes(word)).collect())
}
