//! Content items of a structured report (PS3.3 C.17.3).

use dicom_dictionary_std::tags;

use super::codes::Code;
use crate::dicom::Object;
use crate::dicom::object::decimal_string;

/// How an item relates to the one it stands in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Relation {
    Contains,
    Context,
    Modifier,
}

impl Relation {
    fn name(self) -> &'static str {
        match self {
            Self::Contains => "CONTAINS",
            Self::Context => "HAS OBS CONTEXT",
            Self::Modifier => "HAS CONCEPT MOD",
        }
    }
}

/// A container that follows a template of PS3.16, such as `1500`.
pub(super) fn templated(name: Code, template: &str, children: Vec<Object>) -> Object {
    let template = Object::default()
        .texts(&[(tags::MAPPING_RESOURCE, "DCMR"), (tags::TEMPLATE_IDENTIFIER, template)]);
    container(name, children).item(tags::CONTENT_TEMPLATE_SEQUENCE, template)
}

/// A container.
pub(super) fn container(name: Code, children: Vec<Object>) -> Object {
    Object::default()
        .texts(&[(tags::VALUE_TYPE, "CONTAINER"), (tags::CONTINUITY_OF_CONTENT, "SEPARATE")])
        .item(tags::CONCEPT_NAME_CODE_SEQUENCE, name.item())
        .sequence(tags::CONTENT_SEQUENCE, children)
}

/// The item inside another one.
pub(super) fn related(relation: Relation, item: Object) -> Object {
    item.text(tags::RELATIONSHIP_TYPE, relation.name())
}

/// Running text.
pub(super) fn text(relation: Relation, name: Code, text: &str) -> Object {
    item(relation, "TEXT", name).text(tags::TEXT_VALUE, text)
}

/// A coded word.
pub(super) fn code(relation: Relation, name: Code, value: Code) -> Object {
    item(relation, "CODE", name).item(tags::CONCEPT_CODE_SEQUENCE, value.item())
}

/// A UID.
pub(super) fn uid(relation: Relation, name: Code, uid: &str) -> Object {
    item(relation, "UIDREF", name).text(tags::UID, uid)
}

/// A number with its unit.
pub(super) fn number(name: Code, value: f64, unit: Code) -> Object {
    let measured = Object::default()
        .text(tags::NUMERIC_VALUE, &decimal_string(value))
        .item(tags::MEASUREMENT_UNITS_CODE_SEQUENCE, unit.item());
    item(Relation::Contains, "NUM", name).item(tags::MEASURED_VALUE_SEQUENCE, measured)
}

/// An object that is pointed at.
pub(super) fn image(name: Code, reference: Object) -> Object {
    item(Relation::Contains, "IMAGE", name).item(tags::REFERENCED_SOP_SEQUENCE, reference)
}

fn item(relation: Relation, value_type: &str, name: Code) -> Object {
    related(relation, Object::default())
        .text(tags::VALUE_TYPE, value_type)
        .item(tags::CONCEPT_NAME_CODE_SEQUENCE, name.item())
}
