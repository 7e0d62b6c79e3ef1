//! `hcc-edge phantom`: writes a synthetic two-phase study and, beside it, its truth.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::exit;
use crate::phantom::study::{encode_images, encode_sheets, phenotype_name};
use crate::phantom::{
    ImageFiles, Orientation, Phantom, PhantomSpec, Preset, SheetFiles, StudyFiles, dicom_files,
    generate,
};

/// What `hcc-edge phantom` takes.
#[derive(Debug, Args)]
pub struct PhantomArgs {
    /// Folder to make; the study goes to `study/` in it and the truth to `truth/`
    pub out_dir: PathBuf,
    /// Everything random follows from this number
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Size of the volumes
    #[arg(long, value_enum, default_value_t = PresetName::Demo)]
    pub preset: PresetName,
    /// Leave the arterial phase out
    #[arg(long)]
    pub single_phase: bool,
    /// Write the images as DICOM, one file per slice, instead of NIfTI
    #[arg(long)]
    pub dicom: bool,
    /// Directions of the files' axes, three letters such as LPS or ASR
    #[arg(long, value_parser = parse_orientation, default_value = "LPS")]
    pub orientation: Orientation,
    /// Print one JSON object instead of text; the global flag
    #[arg(skip)]
    pub json: bool,
}

/// A preset as typed on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PresetName {
    /// 160 × 160 × 80 voxels of 2.0 × 2.0 × 2.5 mm
    Demo,
    /// 96 × 96 × 48 voxels of 3.3 × 3.3 × 4.6 mm
    Small,
    /// 512 × 512 × 300 voxels of 0.7 × 0.7 × 1.0 mm
    Full,
}

impl From<PresetName> for Preset {
    fn from(name: PresetName) -> Self {
        match name {
            PresetName::Demo => Self::Demo,
            PresetName::Small => Self::Small,
            PresetName::Full => Self::Full,
        }
    }
}

/// Runs the command; the exit status is 0 when the files are written.
pub fn run(args: &PhantomArgs) -> anyhow::Result<u8> {
    make(args, &mut std::io::stdout().lock())
}

fn make(args: &PhantomArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let folders = Folders::new(&args.out_dir)?;
    let spec = PhantomSpec {
        orientation: args.orientation,
        with_arterial: !args.single_phase,
        ..Preset::from(args.preset).spec(args.seed)
    };
    let phantom = generate(&spec).context("cannot draw the phantom")?;
    let sheets = encode_sheets(&phantom).context("cannot draw the phantom")?;
    folders.make()?;
    let mut written = if args.dicom {
        write_slices(&folders.study, &phantom)?
    } else {
        let images = encode_images(&phantom).context("cannot draw the phantom")?;
        write_images(&folders.study, &images)?
    };
    written.extend(write_sheets(&folders, &sheets)?);
    if args.json {
        let report = JsonReport::new(&folders, &spec, &sheets, &written)?;
        serde_json::to_writer(&mut *out, &report).context("cannot print the report")?;
        writeln!(out).context("cannot print the report")?;
    } else {
        print_text(out, &folders, &sheets).context("cannot print the report")?;
    }
    Ok(exit::OK)
}

/// Where the study and its truth go: beside one another, so that the truth never enters an inbox.
struct Folders {
    study: PathBuf,
    truth: PathBuf,
}

impl Folders {
    /// Refuses to touch what is already there.
    fn new(out_dir: &Path) -> anyhow::Result<Self> {
        let folders = Self { study: out_dir.join("study"), truth: out_dir.join("truth") };
        for folder in [&folders.study, &folders.truth] {
            if folder.exists() {
                bail!("{} already exists; name another folder or remove it", folder.display());
            }
        }
        Ok(folders)
    }

    fn make(&self) -> anyhow::Result<()> {
        for folder in [&self.study, &self.truth] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        Ok(())
    }
}

/// The images as NIfTI.
fn write_images(folder: &Path, images: &ImageFiles) -> anyhow::Result<Vec<PathBuf>> {
    named(images).map(|(name, bytes)| write_new(folder, name, bytes)).collect()
}

/// The images by name.
fn named(images: &ImageFiles) -> impl Iterator<Item = (&'static str, &Vec<u8>)> {
    let arterial = images.arterial_nii_gz.as_ref().map(|bytes| ("arterial.nii.gz", bytes));
    arterial.into_iter().chain([("portal.nii.gz", &images.portal_nii_gz)])
}

/// The images as DICOM; the bytes of one slice are held at a time.
fn write_slices(folder: &Path, phantom: &Phantom) -> anyhow::Result<Vec<PathBuf>> {
    let slices = dicom_files(phantom).map(|slice| {
        let slice = slice.context("cannot draw the phantom")?;
        write_new(folder, &slice.name, &slice.bytes)
    });
    slices.collect()
}

/// The clinical data and the truth.
fn write_sheets(folders: &Folders, sheets: &SheetFiles) -> anyhow::Result<[PathBuf; 3]> {
    Ok([
        write_new(&folders.study, "clinical.json", &sheets.clinical_json)?,
        write_new(&folders.truth, "labels.nii.gz", &sheets.truth_labels_nii_gz)?,
        write_new(&folders.truth, "truth.json", &sheets.truth_json)?,
    ])
}

fn write_new(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
    let path = folder.join(name);
    fs::File::create_new(&path)
        .and_then(|mut file| file.write_all(bytes))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn print_text(out: &mut impl Write, folders: &Folders, sheets: &SheetFiles) -> std::io::Result<()> {
    writeln!(out, "study  {}", folders.study.display())?;
    writeln!(out, "truth  {}", folders.truth.display())?;
    writeln!(out, "liver  {:.0} ml", sheets.truth.liver_ml)?;
    for tumour in &sheets.truth.tumours {
        let name = phenotype_name(tumour.phenotype).replace('_', "-");
        let ml = tumour.volume_mm3 / 1000.0;
        writeln!(out, "tumour {:.1} mm, {ml:.1} ml, {name}", tumour.diameter_mm)?;
    }
    Ok(())
}

/// Writes the study alone, without its truth, into a folder that is made.
pub fn write_study(files: &StudyFiles, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let StudyFiles { images, sheets } = files;
    for (name, bytes) in named(images).chain([("clinical.json", &sheets.clinical_json)]) {
        let path = folder.join(name);
        fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The object `--json` prints.
#[derive(Serialize)]
struct JsonReport {
    seed: u64,
    study: String,
    truth: serde_json::Value,
    files: Vec<String>,
}

impl JsonReport {
    fn new(
        folders: &Folders,
        spec: &PhantomSpec,
        sheets: &SheetFiles,
        written: &[PathBuf],
    ) -> anyhow::Result<Self> {
        Ok(Self {
            seed: spec.seed,
            study: folders.study.display().to_string(),
            truth: serde_json::from_slice(&sheets.truth_json).context("cannot print the truth")?,
            files: written.iter().map(|path| path.display().to_string()).collect(),
        })
    }
}

fn parse_orientation(letters: &str) -> Result<Orientation, String> {
    Orientation::parse(letters).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(out_dir: &Path) -> PhantomArgs {
        PhantomArgs {
            out_dir: out_dir.into(),
            seed: 3,
            preset: PresetName::Small,
            single_phase: true,
            dicom: false,
            orientation: Orientation::RAS,
            json: true,
        }
    }

    #[test]
    fn writes_the_study_and_the_truth_once() {
        let dir = tempfile::tempdir().unwrap();
        let args = args(&dir.path().join("out"));
        let mut out = Vec::new();
        assert_eq!(make(&args, &mut out).unwrap(), 0);
        let printed: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(printed["truth"]["orientation"], "RAS");
        for file in [
            "study/portal.nii.gz",
            "study/clinical.json",
            "truth/labels.nii.gz",
            "truth/truth.json",
        ] {
            assert!(args.out_dir.join(file).exists(), "{file}");
        }
        assert!(!args.out_dir.join("study/arterial.nii.gz").exists());
        let before = fs::read(args.out_dir.join("truth/truth.json")).unwrap();
        let error = make(&args, &mut out).unwrap_err().to_string();
        assert!(error.contains("already exists"), "{error}");
        assert_eq!(fs::read(args.out_dir.join("truth/truth.json")).unwrap(), before);
    }

    #[test]
    fn dicom_takes_the_place_of_the_images_and_of_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let nifti = args(&dir.path().join("nifti"));
        let dicom = PhantomArgs { dicom: true, ..args(&dir.path().join("dicom")) };
        for args in [&nifti, &dicom] {
            assert_eq!(make(args, &mut Vec::new()).unwrap(), 0);
        }
        let names = |args: &PhantomArgs| -> Vec<String> {
            let listed = fs::read_dir(args.out_dir.join("study")).unwrap();
            let names = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<_> = names.collect();
            names.sort();
            names
        };
        let slices = (1..=48).map(|slice| format!("portal-{slice:04}.dcm"));
        let expected: Vec<_> = ["clinical.json".to_owned()].into_iter().chain(slices).collect();
        assert_eq!(names(&dicom), expected);
        for file in ["study/clinical.json", "truth/truth.json", "truth/labels.nii.gz"] {
            let read = |args: &PhantomArgs| fs::read(args.out_dir.join(file)).unwrap();
            assert_eq!(read(&nifti), read(&dicom), "{file}");
        }
    }

    #[test]
    fn orientations_are_checked_when_typed() {
        assert!(parse_orientation("ASR").is_ok());
        assert!(parse_orientation("ASX").unwrap_err().contains("LPS"));
    }
}
