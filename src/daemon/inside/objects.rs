//! The DICOM objects of a result, where the site asks for them. A result stands without them: what
//! keeps them from being made is told on the page, and nowhere else.

use std::io::{self, Write};

use super::order::WorkOrder;
use super::outlet::Outlet;
use crate::analysis::decode::dicom::{DicomError, Source};
use crate::host::errors::one_line;
use crate::host::worker::Artefact;
use crate::render::Picture;
use crate::render::dicom::{Found, Run, objects};
use crate::seal::trust::rfc3339;
use crate::seal::wire::result::intended_use;
use crate::seal::wire::{IntendedUse, ModelUse, Task};

/// Makes the objects and sends them; returns why there are none.
pub(super) fn send<W: Write>(
    (order, models): (&WorkOrder, &[ModelUse]),
    source: Result<&Source, &DicomError>,
    found: Found<'_>,
    picture: &Picture,
    outlet: &mut Outlet<W>,
) -> io::Result<Option<String>> {
    let source = match source {
        Ok(source) => source,
        Err(error) => return Ok(Some(not_made(error))),
    };
    let made = match objects(&run(order, models, source), source, found, picture) {
        Ok(made) => made,
        Err(error) => return Ok(Some(not_made(&error))),
    };
    outlet.artefact(Artefact::Capture, &made.overview)?;
    if let Some(bytes) = made.segmentation {
        outlet.artefact(Artefact::Segmentation, &bytes)?;
    }
    if let Some(bytes) = made.measurements {
        outlet.artefact(Artefact::Measurements, &bytes)?;
    }
    Ok(None)
}

fn not_made(error: &dyn std::error::Error) -> String {
    format!("No DICOM objects were made: {}", one_line(error))
}

fn run(order: &WorkOrder, models: &[ModelUse], source: &Source) -> Run {
    let segmenter = models.iter().find(|model| model.task == Task::Segmentation);
    let named = |of: fn(&ModelUse) -> String| segmenter.map(of).unwrap_or_default();
    Run {
        result_id: order.result_id.clone(),
        site: order.site.clone(),
        device: order.device.clone(),
        job: order.job.clone(),
        software: order.software.clone(),
        segmenter: named(|model| model.name.to_string()),
        segmenter_version: named(|model| model.version.to_string()),
        started: moment(order.started_ms, source.utc_offset_minutes().unwrap_or(0)),
        demonstration: intended_use(models) == IntendedUse::Demonstration,
    }
}

/// `YYYYMMDDHHMMSS` of a moment, so many minutes ahead of UTC.
fn moment(ms: u64, ahead_minutes: i64) -> String {
    let local_ms = ms.saturating_add_signed(ahead_minutes * 60_000);
    rfc3339(local_ms).chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::analysis::findings::Outcome;
    use crate::analysis::volume::{Geometry, Mask};

    #[test]
    fn a_source_that_cannot_be_read_is_a_note_and_no_object() {
        let affine = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
        let geometry = Geometry::from_affine([16; 3], &affine, vec![0; 348]).unwrap();
        let mask = Mask { labels: Array3::zeros([16; 3]) };
        let (outcome, geometry) = (Outcome::Ok, &geometry);
        let found = Found { outcome, reasons: &[], lesions: None, mask: &mask, geometry };
        let picture = Picture { width: 1, height: 1, rgb: vec![0; 3] };
        let error = DicomError::Missing { attribute: "SOPInstanceUID" };
        let mut outlet = Outlet::new(Vec::new());
        let order = order();
        let note = send((&order, &[]), Err(&error), found, &picture, &mut outlet).unwrap();
        let note = note.unwrap();
        assert!(note.starts_with("No DICOM objects were made: SOPInstanceUID"), "{note}");
        assert!(outlet.into_inner().is_empty());
    }

    fn order() -> WorkOrder {
        WorkOrder {
            job: "0".to_owned(),
            study: "study".to_owned(),
            site: "ward".to_owned(),
            device: "box-1".to_owned(),
            result_id: "0".to_owned(),
            software: "hcc-edge".to_owned(),
            started_ms: 0,
            max_file_bytes: 0,
            max_voxels: 0,
            dicom_objects: true,
            arterial_series: None,
            portal_series: None,
        }
    }

    #[test]
    fn moments_are_in_the_time_of_the_scan() {
        // 2026-01-01T00:00:00Z
        let new_year = 1_767_225_600_000;
        assert_eq!(moment(new_year, 0), "20260101000000");
        assert_eq!(moment(new_year, 330), "20260101053000");
        assert_eq!(moment(new_year, -60), "20251231230000");
    }
}
