//! Findings → overview picture and report page. Pure: values in, bytes out.
//!
//! | file | makes |
//! |---|---|
//! | [`mod@overview`] | one PNG: both phases and the heat map in three planes |
//! | [`mod@report`] | one HTML page that needs nothing but the overview beside it |
//!
//! Pictures follow the radiological convention: the patient's right is at the left of the picture.

pub mod overview;

mod focus;

mod layout;

mod section;

mod canvas;

mod text;

mod colour;

pub mod report;

pub use overview::{OverviewLabels, RenderError, overview};
pub use report::{ReportView, report};
