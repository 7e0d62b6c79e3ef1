//! What an object is, from its SOP class, modality and image type: a CT slice, or something that a
//! study folder also holds and that is left out and counted.

use dicom_dictionary_std::tags;

use super::attributes::View;

/// What a file or frame is, when it is no CT slice to measure on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// No DICOM at all.
    NotDicom,
    /// A DICOMDIR.
    Directory,
    /// A scout view.
    Localiser,
    /// A picture of a screen, a dose page, a photograph.
    SecondaryCapture,
    /// Labels on another series.
    Segmentation,
    /// A structured report of the dose.
    DoseReport,
    /// Another structured report.
    StructuredReport,
    /// Plan, structures, dose or images of radiotherapy.
    Radiotherapy,
    /// How to show another series.
    PresentationState,
    /// A document.
    Document,
    /// Projections such as MIP.
    Projection,
    /// A map whose values are no Hounsfield units, such as iodine.
    NotHounsfield,
    /// An image of another modality.
    OtherModality,
    /// Anything else.
    Other,
}

impl Kind {
    /// Name in messages, plural.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotDicom => "files that are no DICOM",
            Self::Directory => "DICOM directories",
            Self::Localiser => "localisers",
            Self::SecondaryCapture => "secondary captures",
            Self::Segmentation => "segmentations",
            Self::DoseReport => "dose reports",
            Self::StructuredReport => "structured reports",
            Self::Radiotherapy => "radiotherapy objects",
            Self::PresentationState => "presentation states",
            Self::Document => "documents",
            Self::Projection => "projections",
            Self::NotHounsfield => "maps without Hounsfield units",
            Self::OtherModality => "images of other modalities",
            Self::Other => "other objects",
        }
    }
}

/// The storage classes of PS3.4 B.5 below their common root. A class stands for those below it too,
/// but for the ones listed before it.
const CLASSES: [(&str, Kind); 18] = [
    ("88.67", Kind::DoseReport),
    ("88.68", Kind::DoseReport),
    ("88.73", Kind::DoseReport),
    ("88", Kind::StructuredReport),
    ("66.4", Kind::Segmentation),
    ("66.5", Kind::Segmentation),
    ("66.7", Kind::Segmentation),
    ("481", Kind::Radiotherapy),
    ("7", Kind::SecondaryCapture),
    ("11", Kind::PresentationState),
    ("104", Kind::Document),
    ("4", Kind::OtherModality),
    ("6", Kind::OtherModality),
    ("12", Kind::OtherModality),
    ("13", Kind::OtherModality),
    ("20", Kind::OtherModality),
    ("128", Kind::OtherModality),
    ("1", Kind::OtherModality),
];

/// CT Image, Enhanced CT Image, Legacy Converted Enhanced CT Image.
const CT: [&str; 3] = ["2", "2.1", "2.2"];

const STORAGE: &str = "1.2.840.10008.5.1.4.1.1.";

/// What the object is; `None` for a CT slice to measure on.
pub(super) fn other_than_ct(view: &View<'_, '_>) -> Option<Kind> {
    let class = view.ascii(tags::SOP_CLASS_UID).unwrap_or("");
    let Some(class) = class.strip_prefix(STORAGE) else {
        // Without a class the modality is all there is; a CT without a class is no standard object.
        return Some(Kind::Other);
    };
    if !CT.contains(&class) {
        let under = |known: &str| {
            class.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let known = CLASSES.iter().find(|(known, _)| under(known));
        return Some(known.map_or(Kind::Other, |(_, kind)| *kind));
    }
    if view.ascii(tags::MODALITY).is_some_and(|modality| modality != "CT") {
        return Some(Kind::OtherModality);
    }
    image_type(view).or_else(|| map(view))
}

/// What the image type (of the frame where there is one) says the picture is.
fn image_type(view: &View<'_, '_>) -> Option<Kind> {
    let words = view.ascii(tags::FRAME_TYPE).or_else(|| view.ascii(tags::IMAGE_TYPE))?;
    words.split('\\').find_map(|word| match word.trim() {
        "LOCALIZER" | "SCOUT" | "TOPOGRAM" => Some(Kind::Localiser),
        "SCREEN SAVE" | "DOSE_INFO" | "DOSE INFO" | "PASTED" => Some(Kind::SecondaryCapture),
        "MIP" | "MINIP" | "MAX_IP" | "MIN_IP" | "PROJECTION IMAGE" | "VOLUME_RENDERING" | "VRT" => {
            Some(Kind::Projection)
        }
        _ => None,
    })
}

/// A rescale type other than HU is a map; US means "not specified" (PS3.3 C.11.1.1.2).
fn map(view: &View<'_, '_>) -> Option<Kind> {
    let hounsfield =
        |unit: &str| matches!(unit, "HU" | "US" | "hu") || unit.starts_with("Hounsfield");
    view.ascii(tags::RESCALE_TYPE).filter(|unit| !hounsfield(unit)).map(|_| Kind::NotHounsfield)
}
