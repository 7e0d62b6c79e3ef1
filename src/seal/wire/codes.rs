//! The closed lists of codes and the macro that makes them. A code is a number in CBOR, a
//! `snake_case` name in JSON, and a sentence for people. Numbers are never reused or changed.

/// Defines a fieldless enum with an explicit number, a name and a sentence per variant, and its
/// two serialised forms.
macro_rules! codes {
    (
        $(#[$doc:meta])*
        $name:ident { $( $variant:ident = $code:literal, $text:literal, $sentence:literal; )+ }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $( #[doc = $sentence] $variant, )+
        }

        impl $name {
            /// Every code, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The number that is sent.
            pub const fn code(self) -> u64 {
                match self { $(Self::$variant => $code),+ }
            }

            /// The name in JSON, logs and documentation.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// What it means, as a sentence.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence),+ }
            }

            /// The code with that number, if there is one.
            pub const fn from_code(code: u64) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(self.name())
                } else {
                    serializer.serialize_u64(self.code())
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let code = <u64 as serde::Deserialize>::deserialize(from)?;
                Self::from_code(code).ok_or_else(|| {
                    serde::de::Error::custom(format_args!(
                        concat!("{} is not a ", stringify!($name), " code"), code))
                })
            }
        }
    };
}
pub(crate) use codes;

codes! {
    /// How a study ended.
    Status {
        Ok = 0, "ok", "A score and a recommendation were computed.";
        Abstained = 1, "abstained", "The study was looked at; there is no score and no recommendation.";
        Unreadable = 2, "unreadable", "The image files cannot be used.";
        Failed = 3, "failed", "The study could not be processed.";
    }
}

codes! {
    /// What a result may be used for.
    IntendedUse {
        Demonstration = 0, "demonstration", "Demonstration, not for clinical use.";
        Clinical = 1, "clinical", "Every model and nomogram in use is released for clinical use.";
    }
}

codes! {
    /// How far the device's clock can be trusted.
    ClockQuality {
        Unknown = 0, "unknown", "The clock was never set since power-on.";
        Rtc = 1, "rtc", "The clock was set from the battery-backed clock.";
        Ntp = 2, "ntp", "The clock is synchronised over the network.";
    }
}

codes! {
    /// What a model package does.
    Task {
        Localisation = 0, "localisation", "Finds the liver box.";
        Segmentation = 1, "segmentation", "Labels liver and tumour.";
        Classification = 2, "classification", "Scores the tumour.";
        Nomogram = 3, "nomogram", "Combines the score with clinical data.";
    }
}

codes! {
    /// Arithmetic of the networks.
    Precision {
        Int8 = 0, "int8", "Eight-bit integers.";
        Float32 = 1, "float32", "Single-precision floating point.";
        Mixed = 2, "mixed", "Eight-bit integers with the float parts the manifest lists.";
    }
}

codes! {
    /// Which part of a study a file belongs to.
    InputRole {
        Portal = 0, "portal", "The portal venous phase.";
        Arterial = 1, "arterial", "The arterial phase.";
        Clinical = 2, "clinical", "clinical.json.";
        Other = 3, "other", "Any other file of the study.";
        Dicom = 4, "dicom", "The DICOM files.";
        Phases = 5, "phases", "study.json of a DICOM study, which names series.";
    }
}

codes! {
    /// Why the device took the study as complete.
    CompletionRule {
        DoneMarker = 0, "done_marker", "A .done marker was written.";
        Quiescence = 1, "quiescence", "Nothing changed for the settling time.";
        Deadline = 2, "deadline", "The deadline passed before the study was complete.";
    }
}

codes! {
    /// Sex as supplied.
    Sex {
        Female = 0, "female", "Female.";
        Male = 1, "male", "Male.";
        Other = 2, "other", "Other or not stated.";
    }
}

codes! {
    /// Ascites, graded as in Child-Pugh (Pugh 1973).
    Ascites {
        None = 0, "none", "No ascites.";
        Mild = 1, "mild", "Mild, or controlled by medication.";
        Severe = 2, "severe", "Moderate to severe, or refractory.";
    }
}

codes! {
    /// Hepatic encephalopathy, graded as in Child-Pugh (Pugh 1973).
    Encephalopathy {
        None = 0, "none", "No encephalopathy.";
        Mild = 1, "mild", "Grade 1 to 2, or suppressed by medication.";
        Severe = 2, "severe", "Grade 3 to 4, or refractory.";
    }
}

codes! {
    /// Portal vein tumour thrombus, Japanese Vp classification (LCSGJ).
    Pvtt {
        None = 0, "none", "No portal vein tumour thrombus.";
        Vp1 = 1, "vp1", "Distal to the second-order branches.";
        Vp2 = 2, "vp2", "In the second-order branches.";
        Vp3 = 3, "vp3", "In the first-order branches.";
        Vp4 = 4, "vp4", "In the main trunk or the contralateral branch.";
    }
}

codes! {
    /// One criterion of the validity box (DESIGN section 9).
    Criterion {
        Age = 0, "age", "Age 18 to 75 years.";
        Ecog = 1, "ecog", "ECOG performance status 0 or 1.";
        ChildPugh = 2, "child_pugh", "Child-Pugh class A or B.";
        Diameter = 3, "diameter", "Largest tumour diameter at least 5 cm.";
        PriorTherapy = 4, "prior_therapy", "No earlier treatment of this tumour.";
        SecondMalignancy = 5, "second_malignancy", "No second malignancy.";
        DaysCtToTreatment = 6, "days_ct_to_treatment", "CT at most 14 days before treatment.";
        BothPhases = 7, "both_phases", "Arterial and portal venous phase present.";
    }
}

codes! {
    /// Whether a criterion holds.
    Met {
        No = 0, "no", "The criterion does not hold.";
        Yes = 1, "yes", "The criterion holds.";
        Unknown = 2, "unknown", "The criterion cannot be evaluated and counts as not met.";
    }
}

codes! {
    /// ALBI grade (Johnson 2015, doi 10.1200/JCO.2014.57.9151).
    AlbiGrade {
        One = 1, "1", "ALBI grade 1.";
        Two = 2, "2", "ALBI grade 2.";
        Three = 3, "3", "ALBI grade 3.";
    }
}

codes! {
    /// Child-Pugh class (Pugh 1973, doi 10.1002/bjs.1800600817).
    ChildPughClass {
        A = 0, "a", "Class A, 5 to 6 points.";
        B = 1, "b", "Class B, 7 to 9 points.";
        C = 2, "c", "Class C, 10 to 15 points.";
    }
}

codes! {
    /// The treatment a nomogram speaks about.
    Treatment {
        Tace = 0, "tace", "Transarterial chemoembolisation.";
        Haic = 1, "haic", "Hepatic arterial infusion chemotherapy.";
    }
}

codes! {
    /// Where the value of a nomogram term comes from.
    Source {
        Measured = 0, "measured", "Measured on the images.";
        Supplied = 1, "supplied", "Supplied in clinical.json.";
        Missing = 2, "missing", "Not available.";
    }
}

codes! {
    /// Where a number of a nomogram comes from.
    Provenance {
        Published = 0, "published", "A published hazard ratio.";
        OwnFit = 1, "own_fit", "Fitted by us; the text says on what.";
        Placeholder = 2, "placeholder", "A placeholder without evidence.";
    }
}

codes! {
    /// The verdict of one nomogram.
    RiskGroup {
        Low = 0, "low", "Below the cut-off.";
        High = 1, "high", "At or above the cut-off.";
        Indeterminate = 2, "indeterminate", "Too close to the cut-off to say.";
        NotComputable = 3, "not_computable", "A value is missing.";
    }
}

codes! {
    /// What the policy recommends to the tumour board.
    RecommendationCode {
        None = 0, "none", "No recommendation.";
        HaicFavoured = 1, "haic_favoured", "HAIC favoured.";
        NoSignificantDifferenceShown = 2, "no_significant_difference_shown",
            "No significant difference between TACE and HAIC was shown.";
        Discuss = 3, "discuss", "To be discussed by the tumour board.";
    }
}

codes! {
    /// The exact words shown with a recommendation; other words are another number. 5 to 7 were other words.
    Wording {
        None = 0, "none", "No recommendation is made for this study.";
        HaicFavoured = 1, "haic_favoured_1",
            "Preliminary, for the tumour board: both nomograms say high risk; in the published cohort HAIC did better than TACE in this group.";
        NoDifference = 2, "no_significant_difference_1",
            "Preliminary, for the tumour board: both nomograms say low risk; the published cohort shows no significant difference between TACE and HAIC, which is not evidence that they are equal.";
        Discordant = 3, "discuss_discordant_1",
            "Preliminary, for the tumour board: the two nomograms disagree; discuss.";
        Indeterminate = 4, "discuss_indeterminate_1",
            "Preliminary, for the tumour board: a nomogram lies too close to its cut-off; discuss.";
        NotComputable = 8, "discuss_not_computable_2",
            "Preliminary, for the tumour board: a nomogram could not be computed because a value is missing or outside the range it was fitted on; discuss.";
        Contradiction = 9, "discuss_contradiction_1",
            "Preliminary, for the tumour board: supplied values contradict the image or may be in another unit, see the findings; discuss.";
        Extrapolated = 10, "discuss_extrapolated_1",
            "Preliminary, for the tumour board: a value lies outside the range its nomogram was fitted on; discuss.";
        DiscussHigh = 11, "discuss_high_2",
            "Preliminary, for the tumour board: both nomograms say high risk; the nomogram package's policy says discuss.";
        DiscussLow = 12, "discuss_low_2",
            "Preliminary, for the tumour board: both nomograms say low risk; the nomogram package's policy says discuss.";
    }
}

codes! {
    /// The stages whose durations are reported.
    StageCode {
        Decode = 0, "decode", "Files to Hounsfield units.";
        Gate = 1, "gate", "Is this a two-phase liver CT?";
        Localise = 2, "localise", "Liver box.";
        Segment = 3, "segment", "Liver and tumour labels.";
        Measure = 4, "measure", "Lesions and diameters.";
        Classify = 5, "classify", "Risk score and heat map.";
        Clinical = 6, "clinical", "Eligibility, nomograms, recommendation.";
        Render = 7, "render", "Pictures and report.";
        Total = 8, "total", "From the start of the worker to its end.";
        Register = 9, "register", "Arterial phase onto the portal venous one.";
    }
}

codes! {
    /// What a status message says of its device.
    DeviceState {
        Online = 0, "online", "The device is running.";
        Stopped = 1, "stopped", "The device was stopped on purpose.";
        Offline = 2, "offline", "The device went away without saying so (sent by the broker).";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back_to_their_code() {
        for code in Pvtt::ALL {
            assert_eq!(Pvtt::from_code(code.code()), Some(*code));
        }
        assert_eq!(Pvtt::from_code(5), None);
        assert_eq!(serde_json::to_string(&Pvtt::Vp4).unwrap(), "\"vp4\"");
        assert_eq!(crate::seal::cbor::encode(&Pvtt::Vp4, 1).unwrap(), [4]);
        assert!(crate::seal::cbor::decode::<Pvtt>(&[5], 1).is_err(), "an unknown number");
    }
}
