//! `hcc-edge verify`: checks one signed result, or a JSON view of one, without a network.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde_json::json;

use super::exit::{self, NO_INPUT, OK, VERIFICATION_FAILED};
use crate::host::keys;
use crate::seal::trust::TrustStore;
use crate::seal::verify::{Verified, verify};
use crate::seal::view::{MAX_VIEW, View, signed_bytes};
use crate::seal::wire::codes::Status;
use crate::seal::wire::{ResultMessage, Slug};

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File with a signed result or its JSON view; - reads standard input.
    file: PathBuf,
    /// Trust store; the default is the device's own.
    #[arg(long)]
    trust: Option<PathBuf>,
    /// The device the result must be from.
    #[arg(long)]
    device: Option<Slug>,
    /// State directory of the device.
    #[arg(long, env = "HCC_EDGE_STATE_DIR", default_value = "/var/lib/hcc-edge")]
    state_dir: PathBuf,
}

/// Runs the command; the result is the exit status.
pub fn run(args: &Args, json: bool) -> anyhow::Result<u8> {
    let Some(bytes) = read(&args.file)? else {
        report_refusal(&anyhow!("no file {}", args.file.display()), json);
        return Ok(NO_INPUT);
    };
    let own = args.state_dir.join("keys").join(keys::TRUST_STORE);
    let path = args.trust.as_ref().unwrap_or(&own);
    let trust = keys::load_trust(path)?.with_context(|| {
        let doing = format!("no trust store {}: name one with --trust", path.display());
        exit::exit(exit::NO_INPUT, doing)
    })?;
    match check(&bytes, &trust, args.device.as_ref()) {
        Ok((verified, view)) => {
            if json {
                println!("{}", summary_json(&verified, &view));
            } else {
                print!("{}", summary(&verified, &view));
            }
            Ok(OK)
        }
        Err(error) => {
            report_refusal(&error, json);
            Ok(VERIFICATION_FAILED)
        }
    }
}

fn check(
    bytes: &[u8],
    trust: &TrustStore,
    device: Option<&Slug>,
) -> anyhow::Result<(Verified<ResultMessage>, View)> {
    let is_view = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let cose = if is_view { signed_bytes(bytes)? } else { bytes.to_vec() };
    let verified: Verified<ResultMessage> = verify(&cose, trust, None)?;
    let from = &verified.message.device;
    if let Some(device) = device
        && device != from
    {
        return Err(anyhow!("the result is from device {from}, not from {device}"));
    }
    Ok((verified, View::of(&cose)?))
}

fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let limit = MAX_VIEW as u64 + 1;
    if path == Path::new("-") {
        std::io::stdin().take(limit).read_to_end(&mut bytes)?;
        return Ok(Some(bytes));
    }
    match std::fs::File::open(path) {
        Ok(file) => file.take(limit).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    Ok(Some(bytes))
}

fn report_refusal(error: &anyhow::Error, json: bool) {
    if json {
        println!("{}", json!({ "verified": false, "reason": format!("{error:#}") }));
    } else {
        eprintln!("NOT VERIFIED: {error:#}");
    }
}

fn summary_json(verified: &Verified<ResultMessage>, view: &View) -> serde_json::Value {
    json!({
        "verified": true,
        "kid": verified.kid,
        "digest": verified.digest,
        "notice": view.notice,
        "headline": view.headline,
        "sentences": view.sentences,
        "result": verified.message,
    })
}

/// What a person reads: who, what, why, from which inputs.
fn summary(verified: &Verified<ResultMessage>, view: &View) -> String {
    let result = &verified.message;
    let mut lines = vec![
        format!("VERIFIED   signed by {} of {}, key {}", result.device, result.site, verified.kid),
        format!(
            "           message {} of epoch {}, digest {}",
            result.seq, result.epoch, verified.digest
        ),
        format!("USE        {}", view.notice),
        format!("STATUS     {}: {}", result.status.name(), view.headline),
    ];
    lines.extend(view.sentences.iter().map(|sentence| format!("           {sentence}")));
    if let Some(lesions) = &result.lesions {
        let largest = lesions.list.first().map_or(0, |lesion| lesion.diameter_um);
        lines.push(format!(
            "LESIONS    {}, largest {:.1} mm, tumour {:.1} mL of {:.1} mL liver",
            lesions.count,
            largest as f64 / 1e3,
            lesions.tumour_mm3 as f64 / 1e3,
            lesions.liver_mm3 as f64 / 1e3
        ));
    }
    for nomogram in result.nomograms.iter() {
        lines.push(format!(
            "NOMOGRAM   {}: {} ({} {})",
            nomogram.treatment.name(),
            nomogram.risk_group.name(),
            nomogram.package,
            nomogram.version
        ));
        for term in nomogram.terms.iter() {
            let value = term.value_e4.map_or("missing".into(), |value| e4(value).to_string());
            lines.push(format!(
                "           {:<24} {:>10} {:<8} x {:>8}  {} ({})",
                &*term.name,
                value,
                &*term.unit,
                e4(term.coefficient_e4),
                term.provenance.name(),
                term.provenance_text
            ));
        }
        if let Some(lp) = nomogram.lp_e4 {
            lines.push(format!("           sum {}", e4(lp)));
        }
    }
    for model in result.models.iter() {
        lines
            .push(format!("MODEL      {} {} {}", model.name, model.version, model.manifest_digest));
    }
    if result.status == Status::Ok && result.history {
        lines.push("NOTE       made from a backlog: a newer result may exist".into());
    }
    lines.join("\n") + "\n"
}

fn e4(value: i64) -> f64 {
    value as f64 / 1e4
}
