//! What the gate and the analysis measured, as named numbers in thousandths, so that a refusal
//! can be understood without the images.

use super::codes::codes;

codes! {
    /// The name, and by it the unit, of a measured number; the value is sent times 1,000.
    GateCode {
        SlicesPortal = 0, "slices_portal", "Slices of the portal venous phase.";
        SlicesArterial = 1, "slices_arterial", "Slices of the arterial phase.";
        SpacingXMm = 2, "spacing_x_mm", "Column spacing of the portal venous phase, mm.";
        SpacingYMm = 3, "spacing_y_mm", "Row spacing of the portal venous phase, mm.";
        SpacingZMm = 4, "spacing_z_mm", "Slice spacing of the portal venous phase, mm.";
        ExtentZMm = 5, "extent_z_mm", "Length of the scan along the body, mm.";
        LiverMl = 6, "liver_ml", "Liver volume including tumour, mL.";
        TumourMl = 7, "tumour_ml", "Tumour volume, mL.";
        LiverHuPortal = 8, "liver_hu_portal", "Mean of the liver without tumour, portal venous phase, HU.";
        LiverHuArterial = 9, "liver_hu_arterial", "Mean of the liver without tumour, arterial phase, HU.";
        TumourHuPortal = 10, "tumour_hu_portal", "Mean of the tumour, portal venous phase, HU.";
        TumourHuArterial = 11, "tumour_hu_arterial", "Mean of the tumour, arterial phase, HU.";
        LiverSdHuPortal = 12, "liver_sd_hu_portal", "Standard deviation in the liver, portal venous phase, HU.";
        LowHuPortal = 13, "low_hu_portal", "1st percentile of the portal venous phase, HU.";
        HighHuPortal = 14, "high_hu_portal", "99th percentile of the portal venous phase, HU.";
        LowHuArterial = 15, "low_hu_arterial", "1st percentile of the arterial phase, HU.";
        HighHuArterial = 16, "high_hu_arterial", "99th percentile of the arterial phase, HU.";
        AirFraction = 17, "air_fraction", "Fraction of voxels below -800 HU, portal venous phase.";
        PhaseOverlap = 18, "phase_overlap", "Fraction of the portal grid that the arterial phase covers.";
        PhaseSimilarity = 19, "phase_similarity", "Correlation of the two phases round the liver, where they lie best on each other.";
        PhaseShiftMm = 20, "phase_shift_mm", "Shift of the liver from the portal venous to the arterial phase, mm.";
        LiverCoverage = 21, "liver_coverage", "Fraction of the liver's surface that is not on the edge of the scan.";
        LiverFraction = 22, "liver_fraction", "Fraction of the scan that is liver.";
        ObliquityDeg = 23, "obliquity_deg", "Angle between the scan's axes and the patient's axes, degrees.";
        VoxelsMillion = 24, "voxels_million", "Voxels of the portal venous phase, millions.";
        SpacingArterialZMm = 25, "spacing_arterial_z_mm", "Slice spacing of the arterial phase, mm.";
        ImplausibleFraction = 26, "implausible_fraction", "Fraction of voxels outside -1024 to 3071 HU.";
        LargestDiameterMm = 27, "largest_diameter_mm", "Largest axial tumour diameter, mm.";
        LiverComponents = 28, "liver_components", "Connected components of the liver mask.";
        VesselHuArterial = 29, "vessel_hu_arterial", "Enhancement of the brightest vessels, arterial phase, HU.";
        VesselHuPortal = 30, "vessel_hu_portal", "Enhancement of the brightest vessels, portal venous phase, HU.";
        SoftTissueFraction = 31, "soft_tissue_fraction", "Fraction of voxels between -100 and 300 HU, portal venous phase.";
        AortaHuArterial = 32, "aorta_hu_arterial", "Mean of the aorta at the height of the liver, arterial phase, HU.";
        AortaHuPortal = 33, "aorta_hu_portal", "Mean of the aorta at the height of the liver, portal venous phase, HU.";
        SeriesUsable = 34, "series_usable", "Usable CT series among the DICOM files.";
        SeriesRefused = 35, "series_refused", "CT series among the DICOM files that cannot be used.";
        ObjectsLeftOut = 36, "objects_left_out", "Files that are no slice of a CT series, and copies of slices.";
        PhaseShiftRightMm = 37, "phase_shift_right_mm", "That shift towards the patient's right, mm.";
        PhaseShiftAnteriorMm = 38, "phase_shift_anterior_mm", "That shift towards anterior, mm.";
        PhaseShiftSuperiorMm = 39, "phase_shift_superior_mm", "That shift towards superior, mm.";
        LiverAtSidesCm2 = 40, "liver_at_sides_cm2", "Liver cut off by the sides of the field of view, cm2.";
        TumourOutsideFraction = 41, "tumour_outside_fraction", "Fraction of what was taken for tumour that lies outside the liver.";
        PrototypeDistance = 42, "prototype_distance", "Squared distance of the tumour from the nearest prototype.";
    }
}
