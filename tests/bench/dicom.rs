//! What reading a DICOM series costs: 600 slices of 512 × 512, two threads, in each transfer syntax
//! that is read. Prints a table; `cargo bench --bench dicom`.
//!
//! Uncompressed files are generated; the compressed ones are a real slice at 600 places, of the data
//! beside the repository. Each series is read in a process of its own, because the peak of memory
//! (VmHWM) is the process'. "Extra" is that peak less what the process had before and less the
//! volume: the files, which are held in memory, and what decoding needs.

#![allow(clippy::disallowed_methods, reason = "a bench reads files and the clock")]
#![allow(clippy::unwrap_used, reason = "a bench stops at the first thing that fails")]

#[path = "../it/clones.rs"]
mod clones;
#[path = "../it/real_data.rs"]
mod real_data;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use hcc_edge::analysis::decode::Limits;
use hcc_edge::analysis::decode::dicom::survey;

const SLICES: usize = 600;
const SIDE: usize = 512;
const THREADS: usize = 2;
/// Times each series is read; the fastest counts.
const ROUNDS: usize = 3;
const VOLUME_BYTES: u64 = (SLICES * SIDE * SIDE * 2) as u64;

/// The archive of one slice in many transfer syntaxes, and the end of each file's name.
const ARCHIVE: &str = "dicom-transfer-syntaxes/cornerstone_CTImage.tar.xz";
const SYNTAXES: [(&str, &str); 9] = [
    ("explicit LE, real", "1.2.840.10008.1.2.1"),
    ("implicit LE, real", "1.2.840.10008.1.2"),
    ("explicit BE, real", "1.2.840.10008.1.2.2"),
    ("deflated, real", "1.2.840.10008.1.2.1.99"),
    ("RLE, real", "1.2.840.10008.1.2.5"),
    ("JPEG 57, real", "1.2.840.10008.1.2.4.57"),
    ("JPEG 70, real", "1.2.840.10008.1.2.4.70"),
    ("JPEG-LS, real", "1.2.840.10008.1.2.4.80"),
    ("JPEG 2000, real", "1.2.840.10008.1.2.4.90"),
];

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    if let Some(file) = arguments.next() {
        return read_series(Path::new(&file));
    }
    println!(
        "{:<20} {:>9} {:>8} {:>8} {:>8} {:>9}",
        "series", "files MiB", "survey s", "decode s", "all s", "extra/vol"
    );
    let folder = tempfile::tempdir().unwrap();
    let generated = folder.path().join("generated.dcm");
    fs::write(&generated, generated_slice()).unwrap();
    measure("explicit LE", &generated);
    let Some(unpacked) = real_slices(folder.path()) else { return };
    for (name, uid) in SYNTAXES {
        let end = format!("_{uid}.dcm");
        let file = unpacked.iter().find(|path| path.to_str().unwrap().ends_with(&end));
        measure(name, file.unwrap());
    }
}

/// Reads a series of this slice in a process of its own, which prints a line.
fn measure(name: &str, slice: &Path) {
    print!("{name:<20} ");
    std::io::Write::flush(&mut std::io::stdout()).unwrap();
    let status = Command::new(std::env::current_exe().unwrap()).arg(slice).status();
    assert!(status.unwrap().success(), "{name}");
}

fn read_series(slice: &Path) {
    let before = memory("VmRSS");
    let files = clones::series_of(&fs::read(slice).unwrap(), SLICES);
    let mut fastest = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let found = survey(&files, &Limits::STANDARD);
        let surveyed = started.elapsed().as_secs_f64();
        let [series] = &found.series[..] else { panic!("{:?}", found.findings) };
        let read = series.decode(&files, &Limits::STANDARD, THREADS).unwrap();
        let all = started.elapsed().as_secs_f64();
        assert_eq!(read.volume.hu.len() * 2, VOLUME_BYTES as usize);
        if all < fastest.1 {
            fastest = (surveyed, all);
        }
    }
    let bytes: usize = files.iter().map(Vec::len).sum();
    let extra = memory("VmHWM").saturating_sub(before + VOLUME_BYTES);
    let (surveyed, all) = fastest;
    println!(
        "{:>9} {surveyed:>8.2} {:>8.2} {all:>8.2} {:>9.2}",
        bytes >> 20,
        all - surveyed,
        extra as f64 / VOLUME_BYTES as f64
    );
}

/// A line of /proc/self/status, bytes.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn real_slices(folder: &Path) -> Option<Vec<PathBuf>> {
    let archive = real_data::data(ARCHIVE)?;
    let tar = Command::new("tar").arg("xf").arg(archive).arg("-C").arg(folder).status();
    assert!(tar.unwrap().success());
    let entries = fs::read_dir(folder.join("cornerstone_CTImage")).unwrap();
    Some(entries.map(|entry| entry.unwrap().path()).collect())
}

/// One element, explicit VR little-endian.
fn element(group: u16, number: u16, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut bytes = [group.to_le_bytes(), number.to_le_bytes()].concat();
    bytes.extend(vr);
    if vr == b"OW" {
        bytes.extend([0, 0]);
        bytes.extend((value.len() as u32).to_le_bytes());
    } else {
        bytes.extend((value.len() as u16).to_le_bytes());
    }
    [&bytes[..], value].concat()
}

/// An axial slice of noise over tissue and air.
fn generated_slice() -> Vec<u8> {
    let mut state = 1u32;
    let cell = |at: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let body = (100..400).contains(&(at / SIDE)) && (80..430).contains(&(at % SIDE));
        (if body { 1064 } else { 30 } + (state >> 26) as u16).to_le_bytes()
    };
    let pixels: Vec<u8> = (0..SIDE * SIDE).flat_map(cell).collect();
    let side = (SIDE as u16).to_le_bytes();
    let syntax = element(2, 0x10, b"UI", b"1.2.840.10008.1.2.1\0");
    let length = (syntax.len() as u32).to_le_bytes();
    [
        vec![0; 128],
        b"DICM".to_vec(),
        element(2, 0, b"UL", &length),
        syntax,
        element(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.2\0"),
        element(8, 0x60, b"CS", b"CT"),
        element(0x20, 0xE, b"UI", b"1.2.3\0"),
        element(0x20, 0x32, b"DS", b"-180.00\\-180.00\\0.000000"),
        element(0x20, 0x37, b"DS", b"1\\0\\0\\0\\1\\0 "),
        element(0x28, 2, b"US", &[1, 0]),
        element(0x28, 4, b"CS", b"MONOCHROME2 "),
        element(0x28, 0x10, b"US", &side),
        element(0x28, 0x11, b"US", &side),
        element(0x28, 0x30, b"DS", b"0.7\\0.7 "),
        element(0x28, 0x100, b"US", &[16, 0]),
        element(0x28, 0x101, b"US", &[12, 0]),
        element(0x28, 0x102, b"US", &[11, 0]),
        element(0x28, 0x103, b"US", &[0, 0]),
        element(0x28, 0x1052, b"DS", b"-1024 "),
        element(0x28, 0x1053, b"DS", b"1 "),
        element(0x7FE0, 0x10, b"OW", &pixels),
    ]
    .concat()
}
