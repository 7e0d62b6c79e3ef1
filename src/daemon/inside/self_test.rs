//! Every network on its golden input: an engine that answers otherwise must not serve.

use std::io::Write;

use super::failure::Failure;
use super::outlet::Outlet;
use super::packages::Loaded;
use crate::analysis::engine::golden::{self, GoldenReport};
use crate::analysis::engine::int8::compute::Compute;
use crate::analysis::engine::package::Package;
use crate::host::worker::self_test::{PackageTest, SelfTestReport};

/// Tests the three networks and reports how close they came.
pub(super) fn run<W: Write>(loaded: &Loaded, outlet: &mut Outlet<W>) -> Result<(), Failure> {
    let networks = &loaded.networks;
    let compute = networks.compute;
    let localiser = test(&networks.localiser, compute)?;
    let segmenter = test(&networks.segmenter, compute)?;
    let pmn = test(&networks.pmn, compute)?;
    let engine = &segmenter.0.engine;
    let report = SelfTestReport {
        backend: format!("{} {}", engine.backend, engine.version),
        precision: engine.arithmetic.name().to_owned(),
        device: engine
            .path
            .map_or(engine.device.into(), |path| format!("{} {path}", engine.device)),
        packages: vec![localiser.1, segmenter.1, pmn.1],
    };
    Ok(outlet.passed(&report.encode())?)
}

fn test(package: &Package, compute: Compute) -> Result<(GoldenReport, PackageTest), Failure> {
    let (name, version) = (package.manifest.name.clone(), package.manifest.version.clone());
    let refused = |source| Failure::SelfTest { package: name.clone(), source };
    let seen = golden::self_test(package, compute).map_err(refused)?;
    let (max_abs_error, tolerance) = (seen.max_abs_error, seen.tolerance);
    Ok((seen, PackageTest { name, version, max_abs_error, tolerance }))
}
