//! Findings → overview picture and report page. Pure: values in, bytes out.
//!
//! | file | makes |
//! |---|---|
//! | [`mod@overview`] | one PNG: both phases and the heat map in three planes |
//! | [`mod@report`] | one HTML page that needs nothing but the overview beside it |
//! | [`mod@dicom`] | masks, picture and measurements as DICOM objects, for sites that ask for them |
//!
//! Pictures follow the radiological convention: the patient's right is at the left of the picture.

pub mod overview;

mod focus;

mod layout;

mod section;

pub mod picture;

mod canvas;

mod text;

mod colour;

pub mod report;

pub mod dicom;

pub use overview::{OverviewLabels, RenderError, overview};
pub use picture::Picture;
pub use report::{ReportView, report};
