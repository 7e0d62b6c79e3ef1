//! What to draw: the checked description of one phantom, and the presets.

use thiserror::Error;

use super::orientation::Orientation;
use super::random::Random;
use crate::units::{OutOfRange, Spacing, in_range};

/// A description that cannot be drawn.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PhantomError {
    /// A quantity outside its range.
    #[error("the phantom's description is out of range; correct it and try again")]
    Range(#[from] OutOfRange),
    /// Too small or too large a grid.
    #[error("a phantom of {0:?} voxels [z, y, x]: each axis must be 16 to 1024")]
    Shape([usize; 3]),
    /// Too many tumours.
    #[error("{0} tumours: at most {MAX_TUMOURS} are drawn")]
    TooManyTumours(usize),
    /// A tumour asked for at random that does not fit.
    #[error("no place in the liver for tumour {index} of {diameter_mm} mm; make it smaller")]
    NoRoom {
        /// Which tumour, from 0.
        index: usize,
        /// Its diameter.
        diameter_mm: f64,
    },
    /// Letters that do not name three directions.
    #[error(
        "orientation {0:?}: expected three letters, one of R/L, one of A/P, one of S/I, like LPS"
    )]
    Orientation(String),
    /// A result that could not be written as JSON or gzip; neither happens in memory.
    #[error("the phantom's files could not be encoded: {0}")]
    Encode(String),
}

/// The largest number of tumours in a phantom.
pub const MAX_TUMOURS: usize = 8;

/// How a tumour enhances (MODELS section 3: the two classes of bank A).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phenotype {
    /// Rim enhancement in the arterial phase round a poorly enhancing core, irregular margin.
    Proliferative,
    /// Homogeneous arterial enhancement, portal washout, thin capsule, smooth margin.
    NonProliferative,
}

/// One tumour to draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TumourSpec {
    /// Centre in patient millimetres `[x, y, z]`; `None` finds a place in the liver.
    pub centre: Option<[f64; 3]>,
    /// Diameter of the sphere it is deformed from, 5..=140 mm. The truth states what came out.
    pub diameter_mm: f64,
    /// How it enhances.
    pub phenotype: Phenotype,
}

/// Everything a phantom depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct PhantomSpec {
    /// Shapes, enhancement, places and noise.
    pub seed: u64,
    /// Voxels along `[z, y, x]`, each 16..=1024.
    pub shape: [usize; 3],
    /// Millimetres along `[z, y, x]`.
    pub spacing: Spacing,
    /// Tumours, at most [`MAX_TUMOURS`].
    pub tumours: Vec<TumourSpec>,
    /// Where the arterial phase lies against the portal phase (breathing), patient millimetres
    /// `[x, y, z]`, each −20..=20.
    pub arterial_shift_mm: [f64; 3],
    /// Standard deviation of the image noise, 0..=60 HU.
    pub noise_sd: f64,
    /// Order and direction of the axes in the files.
    pub orientation: Orientation,
    /// Rotation of the patient in the scanner as `axis × tan(angle / 2)`, each −1..=1; zeros for
    /// a grid that follows the scanner's axes.
    pub oblique: [f64; 3],
    /// World position of the grid's centre, RAS+ millimetres, each −2000..=2000.
    pub origin_mm: [f64; 3],
    /// False leaves the arterial file out of the study.
    pub with_arterial: bool,
}

/// Named sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// 160 × 160 × 80 voxels of 2.0 × 2.0 × 2.5 mm.
    Demo,
    /// 96 × 96 × 48 voxels of 3.3 × 3.3 × 4.6 mm, for fast tests.
    Small,
    /// 512 × 512 × 300 voxels of 0.7 × 0.7 × 1.0 mm.
    Full,
}

impl Preset {
    /// A study inside the validity box: one proliferative tumour of more than 55 mm and one or two
    /// smaller ones.
    pub fn spec(self, seed: u64) -> PhantomSpec {
        let (shape, zyx_mm) = match self {
            Self::Demo => ([80, 160, 160], [2.5, 2.0, 2.0]),
            Self::Small => ([48, 96, 96], [4.6, 3.3, 3.3]),
            Self::Full => ([300, 512, 512], [1.0, 0.7, 0.7]),
        };
        let mut random = Random::new(seed, 0x5bec);
        PhantomSpec {
            seed,
            shape,
            spacing: Spacing::new(zyx_mm).expect("the presets' spacings are in range"),
            tumours: preset_tumours(&mut random),
            arterial_shift_mm: random.offset().map(|v| v * 1.5),
            noise_sd: random.uniform(9.0, 13.0),
            orientation: Orientation::LPS,
            oblique: [0.0; 3],
            origin_mm: [4.0, -12.0, -180.0],
            with_arterial: true,
        }
    }
}

/// One large proliferative tumour first, then one or two small ones of either kind.
fn preset_tumours(random: &mut Random) -> Vec<TumourSpec> {
    let mut tumours = vec![TumourSpec {
        centre: None,
        diameter_mm: random.uniform(62.0, 74.0),
        phenotype: Phenotype::Proliferative,
    }];
    for _ in 0..random.whole(1, 2) {
        let phenotype =
            [Phenotype::Proliferative, Phenotype::NonProliferative][random.whole(0, 1) as usize];
        tumours.push(TumourSpec {
            centre: None,
            diameter_mm: random.uniform(17.0, 28.0),
            phenotype,
        });
    }
    tumours
}

impl PhantomSpec {
    /// Checks every range.
    pub fn check(&self) -> Result<(), PhantomError> {
        if self.shape.iter().any(|n| !(16..=1024).contains(n)) {
            return Err(PhantomError::Shape(self.shape));
        }
        if self.tumours.len() > MAX_TUMOURS {
            return Err(PhantomError::TooManyTumours(self.tumours.len()));
        }
        in_range("noise", self.noise_sd, (0.0, 60.0), "HU")?;
        for axis in 0..3 {
            in_range("arterial shift", self.arterial_shift_mm[axis], (-20.0, 20.0), "mm")?;
            in_range("oblique rotation", self.oblique[axis], (-1.0, 1.0), "")?;
            in_range("grid centre", self.origin_mm[axis], (-2000.0, 2000.0), "mm")?;
        }
        for tumour in &self.tumours {
            in_range("tumour diameter", tumour.diameter_mm, (5.0, 140.0), "mm")?;
            for value in tumour.centre.unwrap_or_default() {
                in_range("tumour centre", value, (-500.0, 500.0), "mm")?;
            }
        }
        Ok(())
    }

    /// Patient position in millimetres `[x, y, z]` of the voxel at `[z, y, x]`.
    pub fn patient_mm(&self, index: [usize; 3]) -> [f64; 3] {
        let spacing = self.spacing.zyx();
        [2, 1, 0].map(|axis| {
            (index[axis] as f64 - (self.shape[axis] as f64 - 1.0) / 2.0) * spacing[axis]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_pass_their_own_check() {
        for preset in [Preset::Demo, Preset::Small, Preset::Full] {
            for seed in 0..50 {
                let spec = preset.spec(seed);
                assert_eq!(spec.check(), Ok(()));
                assert!((2..=3).contains(&spec.tumours.len()));
                assert_eq!(spec.tumours[0].phenotype, Phenotype::Proliferative);
            }
        }
    }

    #[test]
    fn limits_hold_on_both_sides() {
        let good = Preset::Small.spec(1);
        let with = |change: fn(&mut PhantomSpec)| {
            let mut spec = good.clone();
            change(&mut spec);
            spec.check()
        };
        assert!(with(|s| s.shape = [16, 16, 1024]).is_ok());
        assert!(with(|s| s.shape = [15, 16, 16]).is_err());
        assert!(with(|s| s.shape = [16, 16, 1025]).is_err());
        assert!(with(|s| s.noise_sd = 60.0).is_ok() && with(|s| s.noise_sd = 60.1).is_err());
        assert!(with(|s| s.noise_sd = f64::NAN).is_err());
        assert!(with(|s| s.arterial_shift_mm[2] = -20.0).is_ok());
        assert!(with(|s| s.arterial_shift_mm[2] = -20.1).is_err());
        assert!(with(|s| s.oblique[0] = 1.0).is_ok() && with(|s| s.oblique[0] = 1.01).is_err());
        assert!(with(|s| s.tumours[0].diameter_mm = 140.0).is_ok());
        assert!(with(|s| s.tumours[0].diameter_mm = 4.9).is_err());
        assert!(with(|s| s.tumours = vec![s.tumours[0]; 8]).is_ok());
        assert!(with(|s| s.tumours = vec![s.tumours[0]; 9]).is_err());
    }
}
