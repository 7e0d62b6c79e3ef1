//! A result beside what the phantom really holds.

use std::fmt;

use serde_json::Value;

use crate::seal::wire::ResultMessage;

/// The farthest a lesion's centre may lie from a tumour's to be taken for it, millimetres.
const NEAR_MM: f64 = 30.0;

/// One tumour of the phantom, and the lesion that was found there.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    phenotype: String,
    true_diameter_mm: f64,
    true_volume_ml: f64,
    found: Option<Found>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Found {
    diameter_mm: f64,
    volume_ml: f64,
    apart_mm: f64,
}

/// Each tumour of `truth.json` with the nearest lesion of the result.
pub fn compare(truth: &Value, result: &ResultMessage) -> Vec<Comparison> {
    let tumours = truth["tumours"].as_array().into_iter().flatten();
    tumours.map(|tumour| compare_one(tumour, result)).collect()
}

fn compare_one(tumour: &Value, result: &ResultMessage) -> Comparison {
    let number = |name: &str| tumour[name].as_f64().unwrap_or(f64::NAN);
    let centre = [0, 1, 2].map(|axis| tumour["centre_mm"][axis].as_f64().unwrap_or(f64::NAN));
    let lesions = result.lesions.iter().flat_map(|lesions| lesions.list.iter());
    let found = lesions
        .map(|lesion| {
            let apart = (0..3).map(|n| (lesion.centre_um[n] as f64 / 1e3 - centre[n]).powi(2));
            Found {
                diameter_mm: lesion.diameter_um as f64 / 1e3,
                volume_ml: lesion.volume_mm3 as f64 / 1e3,
                apart_mm: apart.sum::<f64>().sqrt(),
            }
        })
        .filter(|found| found.apart_mm <= NEAR_MM)
        .min_by(|a, b| a.apart_mm.total_cmp(&b.apart_mm));
    Comparison {
        phenotype: tumour["phenotype"].as_str().unwrap_or("unknown").replace('_', "-"),
        true_diameter_mm: number("diameter_mm"),
        true_volume_ml: number("volume_mm3") / 1e3,
        found,
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phenotype, true_diameter_mm, true_volume_ml, found } = self;
        write!(f, "{phenotype} tumour, {true_diameter_mm:.1} mm, {true_volume_ml:.1} ml: ")?;
        match found {
            None => f.write_str("not found"),
            Some(found) => write!(
                f,
                "found {:.1} mm, {:.1} ml, centre {:.1} mm away",
                found.diameter_mm, found.volume_ml, found.apart_mm
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::seal::wire::samples;

    #[test]
    fn a_tumour_is_matched_with_the_lesion_at_its_place() {
        let result = samples::scored();
        let lesion = result.lesions.as_ref().unwrap().list[0].clone();
        let centre = lesion.centre_um.map(|um| um as f64 / 1e3);
        let tumour = |centre: [f64; 3]| json!({"phenotype": "proliferative", "diameter_mm": 60.0, "volume_mm3": 90_000.0, "centre_mm": centre});
        let far = [centre[0] + NEAR_MM + 0.1, centre[1], centre[2]];
        let truth = json!({"tumours": [tumour(centre), tumour(far)]});
        let lines: Vec<String> = compare(&truth, &result).iter().map(ToString::to_string).collect();
        let diameter = lesion.diameter_um as f64 / 1e3;
        assert!(lines[0].contains(&format!("found {diameter:.1} mm")), "{}", lines[0]);
        assert!(lines[0].contains("centre 0.0 mm away"), "{}", lines[0]);
        assert!(lines[1].ends_with("not found"), "{}", lines[1]);
    }
}
