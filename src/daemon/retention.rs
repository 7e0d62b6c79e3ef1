//! Deletes the input of studies that were finished long ago; results stay.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::device::Device;
use super::release::RESULT;
use crate::host::clock::EARLIEST_MS;
use crate::host::fail_point::reach;
use crate::host::inbox::INPUT;

/// Removes every `input/` whose result is older than the configured retention; returns how many.
/// Goes by the folders, because a study that came twice lies in two of them and has one result.
pub fn sweep(device: &Device, now: SystemTime) -> usize {
    let retention = Duration::from_millis(device.config.inbox.retention.0);
    let parents = [device.state.done(), device.state.failed()];
    let folders = parents.iter().filter_map(|parent| fs::read_dir(parent).ok()).flatten().flatten();
    folders.filter(|folder| remove_if_old(&folder.path(), retention, now)).count()
}

fn remove_if_old(folder: &Path, retention: Duration, now: SystemTime) -> bool {
    let result = folder.join(RESULT);
    let Ok(written) = fs::metadata(&result).and_then(|metadata| metadata.modified()) else {
        return false;
    };
    let input = folder.join(INPUT);
    if written < UNIX_EPOCH + Duration::from_millis(EARLIEST_MS) {
        // Written under a clock that was never set: its time begins now.
        let dated = File::options().write(true).open(&result).and_then(|f| f.set_modified(now));
        if let Err(error) = dated {
            log::warn!("cannot date {}: {error}", result.display());
        }
        return false;
    }
    let age = now.duration_since(written).ok();
    if age.is_none_or(|age| age <= retention) || !input.exists() {
        return false;
    }
    let removed = fs::remove_dir_all(&input);
    reach("retention.deleted");
    if let Err(error) = &removed {
        log::warn!("cannot delete {}: {error}", input.display());
    }
    removed.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_input_beside_an_old_result_goes() {
        let root = tempfile::tempdir().unwrap();
        let input = root.path().join(INPUT);
        fs::create_dir(&input).unwrap();
        let (day, now) = (Duration::from_secs(86_400), SystemTime::now());
        assert!(!remove_if_old(root.path(), day, now + 2 * day), "there is no result yet");
        let result = root.path().join(RESULT);
        fs::write(&result, b"signed").unwrap();
        assert!(!remove_if_old(root.path(), day, now), "the result is new");
        File::options().write(true).open(&result).unwrap().set_modified(UNIX_EPOCH).unwrap();
        assert!(!remove_if_old(root.path(), day, now), "its clock was never set");
        assert!(!remove_if_old(root.path(), day, now), "its time has begun with that look");
        assert!(!remove_if_old(root.path(), day, now - day), "the clock went back");
        assert!(remove_if_old(root.path(), day, now + 2 * day));
        assert!(!input.exists() && result.exists());
        assert!(!remove_if_old(root.path(), day, now + 2 * day), "nothing is left to remove");
    }
}
