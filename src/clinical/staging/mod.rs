//! Stagings and tumour-burden scores of hepatocellular carcinoma, one file each, all with the same
//! inner shape: the source and what is uncertain about it in the file's head, each limit with its
//! source, and one function from patient to stage.
//!
//! A stage is given only when every input the rule reads is known, even where fewer would decide it:
//! otherwise the result says what it needs. None of them takes part in the recommendation.

mod albi;

mod bclc;

mod easl;

mod cnlc;

mod lcsgj;

mod hklc;

mod six_and_twelve;

mod up_to_seven;

use std::fmt;

use super::burden::{Burden, extrahepatic_spread, macrovascular_invasion};
use super::data::{ClinicalData, Field};
use super::liver_function::{ChildPugh, ChildPughClass};
use super::needs::{Inputs, NeedsInputs};

/// The stagings, in the order reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum System {
    /// Modified ALBI grade.
    ModifiedAlbi,
    /// Barcelona Clinic Liver Cancer, 2022.
    Bclc,
    /// European Association for the Study of the Liver, 2018.
    Easl,
    /// China liver cancer staging.
    Cnlc,
    /// TNM of the Liver Cancer Study Group of Japan.
    Lcsgj,
    /// Hong Kong Liver Cancer.
    Hklc,
    /// Six-and-twelve score.
    SixAndTwelve,
    /// Up-to-seven criterion.
    UpToSeven,
}

impl System {
    /// Every staging.
    pub const ALL: [Self; 8] = [
        Self::ModifiedAlbi,
        Self::Bclc,
        Self::Easl,
        Self::Cnlc,
        Self::Lcsgj,
        Self::Hklc,
        Self::SixAndTwelve,
        Self::UpToSeven,
    ];

    /// The name in messages.
    pub fn code_name(self) -> &'static str {
        match self {
            Self::ModifiedAlbi => "malbi",
            Self::Bclc => "bclc_2022",
            Self::Easl => "easl_2018",
            Self::Cnlc => "cnlc",
            Self::Lcsgj => "jsh_lcsgj",
            Self::Hklc => "hklc",
            Self::SixAndTwelve => "six_and_twelve",
            Self::UpToSeven => "up_to_seven",
        }
    }

    /// What is uncertain about the rule; shown with every stage.
    pub fn caveat(self) -> &'static str {
        match self {
            Self::ModifiedAlbi => albi::CAVEAT,
            Self::Bclc => bclc::CAVEAT,
            Self::Easl => easl::CAVEAT,
            Self::Cnlc => cnlc::CAVEAT,
            Self::Lcsgj => lcsgj::CAVEAT,
            Self::Hklc => hklc::CAVEAT,
            Self::SixAndTwelve => six_and_twelve::CAVEAT,
            Self::UpToSeven => up_to_seven::CAVEAT,
        }
    }
}

/// A stage, grade or class of one of the [`System`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The rule of each stands in its system's file.
pub enum Stage {
    Malbi1,
    Malbi2a,
    Malbi2b,
    Malbi3,
    Bclc0,
    BclcA,
    BclcB,
    BclcC,
    BclcD,
    Easl0,
    EaslA,
    EaslB,
    EaslC,
    EaslD,
    CnlcIa,
    CnlcIb,
    CnlcIIa,
    CnlcIIb,
    CnlcIIIa,
    CnlcIIIb,
    CnlcIV,
    LcsgjI,
    LcsgjII,
    LcsgjIII,
    LcsgjIVa,
    LcsgjIVb,
    HklcI,
    HklcIIa,
    HklcIIb,
    HklcIIIa,
    HklcIIIb,
    HklcIVa,
    HklcIVb,
    HklcVa,
    HklcVb,
    AtMost6,
    Above6To12,
    Above12,
    Within7,
    Beyond7,
}

impl Stage {
    /// The name in messages.
    pub fn code_name(self) -> &'static str {
        match self {
            Self::Malbi1 => "malbi_1",
            Self::Malbi2a => "malbi_2a",
            Self::Malbi2b => "malbi_2b",
            Self::Malbi3 => "malbi_3",
            Self::Bclc0 => "bclc_0",
            Self::BclcA => "bclc_a",
            Self::BclcB => "bclc_b",
            Self::BclcC => "bclc_c",
            Self::BclcD => "bclc_d",
            Self::Easl0 => "easl_0",
            Self::EaslA => "easl_a",
            Self::EaslB => "easl_b",
            Self::EaslC => "easl_c",
            Self::EaslD => "easl_d",
            Self::CnlcIa => "cnlc_ia",
            Self::CnlcIb => "cnlc_ib",
            Self::CnlcIIa => "cnlc_iia",
            Self::CnlcIIb => "cnlc_iib",
            Self::CnlcIIIa => "cnlc_iiia",
            Self::CnlcIIIb => "cnlc_iiib",
            Self::CnlcIV => "cnlc_iv",
            Self::LcsgjI => "lcsgj_i",
            Self::LcsgjII => "lcsgj_ii",
            Self::LcsgjIII => "lcsgj_iii",
            Self::LcsgjIVa => "lcsgj_iva",
            Self::LcsgjIVb => "lcsgj_ivb",
            Self::HklcI => "hklc_i",
            Self::HklcIIa => "hklc_iia",
            Self::HklcIIb => "hklc_iib",
            Self::HklcIIIa => "hklc_iiia",
            Self::HklcIIIb => "hklc_iiib",
            Self::HklcIVa => "hklc_iva",
            Self::HklcIVb => "hklc_ivb",
            Self::HklcVa => "hklc_va",
            Self::HklcVb => "hklc_vb",
            Self::AtMost6 => "at_most_6",
            Self::Above6To12 => "above_6_to_12",
            Self::Above12 => "above_12",
            Self::Within7 => "within_7",
            Self::Beyond7 => "beyond_7",
        }
    }
}

/// One staging of one patient.
#[derive(Debug, Clone, PartialEq)]
pub struct Staging {
    /// Which one.
    pub system: System,
    /// The stage, or why there is none.
    pub outcome: Result<Stage, NotComputable>,
    /// The number behind the stage, where there is one: the ALBI score, or diameter (cm) + count.
    pub value: Option<f64>,
}

/// Why there is no stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotComputable {
    /// Inputs are missing.
    Needs(NeedsInputs),
    /// No lesion was counted: there is nothing to stage.
    NoTumour,
    /// The rule counts nodules and the tumour is diffuse.
    Diffuse,
}

impl NotComputable {
    /// The inputs that would make it computable; none where no input would.
    pub fn needs(&self) -> &[Field] {
        match self {
            Self::Needs(needs) => &needs.0,
            Self::NoTumour | Self::Diffuse => &[],
        }
    }
}

impl fmt::Display for NotComputable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Needs(needs) => needs.fmt(f),
            Self::NoTumour => f.write_str("not computable: no lesion was counted"),
            Self::Diffuse => f.write_str("not computable: diffuse: nodules cannot be counted"),
        }
    }
}

/// The stage and the number behind it.
type Found = (Stage, Option<f64>);

/// Every staging, in the order of [`System::ALL`].
pub fn stage(data: &ClinicalData, burden: &Burden) -> Vec<Staging> {
    let patient = Patient { data, burden };
    System::ALL.into_iter().map(|system| patient.stage(system)).collect()
}

/// What the rules read.
struct Patient<'a> {
    data: &'a ClinicalData,
    burden: &'a Burden,
}

/// The tumour within the liver.
#[derive(Clone, Copy)]
enum Extent {
    /// So many nodules, the largest of so many mm.
    Nodules(u32, f64),
    /// Nodules cannot be counted.
    Diffuse,
}

impl Extent {
    fn nodules(self) -> Option<(u32, f64)> {
        match self {
            Self::Nodules(count, mm) => Some((count, mm)),
            Self::Diffuse => None,
        }
    }
}

/// What BCLC, EASL and CNLC read, each with its own rules.
struct Disease {
    end_stage: bool,
    ecog: u32,
    invasion: bool,
    spread: bool,
    extent: Extent,
}

/// Lowest ECOG of end-stage disease: Reig 2022 (D), EASL 2018 (D), CNLC (IV).
const END_STAGE_ECOG: u32 = 3;

impl Patient<'_> {
    fn stage(&self, system: System) -> Staging {
        let mut inputs = Inputs::default();
        let found = match system {
            System::ModifiedAlbi => albi::stage(self, &mut inputs),
            _ if self.burden.count == Some(0) => {
                return Staging { system, outcome: Err(NotComputable::NoTumour), value: None };
            }
            System::Bclc => bclc::stage(self, &mut inputs),
            System::Easl => easl::stage(self, &mut inputs),
            System::Cnlc => cnlc::stage(self, &mut inputs),
            System::Lcsgj => lcsgj::stage(self, &mut inputs),
            System::Hklc => hklc::stage(self, &mut inputs),
            System::SixAndTwelve => six_and_twelve::stage(self, &mut inputs),
            System::UpToSeven => up_to_seven::stage(self, &mut inputs),
        };
        match found {
            Some((stage, value)) => Staging { system, outcome: Ok(stage), value },
            None => {
                let lacking = inputs.lacking();
                // With every input there, only the nodules of a diffuse tumour stop a rule.
                let nothing = lacking.0.is_empty();
                let why =
                    if nothing { NotComputable::Diffuse } else { NotComputable::Needs(lacking) };
                Staging { system, outcome: Err(why), value: None }
            }
        }
    }

    /// Child-Pugh C or ECOG 3–4 is end-stage in all three systems.
    fn disease(&self, inputs: &mut Inputs) -> Option<Disease> {
        let ecog = self.ecog(inputs);
        let class = self.child_pugh(inputs);
        let invasion = macrovascular_invasion(self.data, inputs);
        let spread = extrahepatic_spread(self.data, inputs);
        let (extent, ecog) = (self.extent(inputs), ecog?);
        Some(Disease {
            end_stage: class? == ChildPughClass::C || ecog >= END_STAGE_ECOG,
            ecog,
            invasion: invasion?,
            spread: spread?,
            extent: extent?,
        })
    }

    /// Number and size are asked for unless the tumour is known to be diffuse.
    fn extent(&self, inputs: &mut Inputs) -> Option<Extent> {
        let diffuse = inputs.need(Field::DiffuseType, self.data.diffuse_type);
        if diffuse == Some(true) {
            return Some(Extent::Diffuse);
        }
        let (count, mm) = self.burden.need(inputs)?;
        diffuse.map(|_| Extent::Nodules(count, mm))
    }

    fn ecog(&self, inputs: &mut Inputs) -> Option<u32> {
        inputs.need(Field::Ecog, self.data.ecog)
    }

    fn child_pugh(&self, inputs: &mut Inputs) -> Option<ChildPughClass> {
        match ChildPugh::of(self.data) {
            Ok(score) => Some(score.class()),
            Err(needs) => inputs.lack(needs),
        }
    }
}

#[cfg(test)]
mod cases;
