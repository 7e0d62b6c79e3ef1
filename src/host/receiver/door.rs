//! Connections that have no association yet, counted by address: whoever reaches the port can open
//! them, and must not keep the scanners out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most connections of one address that have no association yet.
pub const MAX_WAITING: usize = 4;

/// Who waits; at most as many addresses as there are connections.
#[derive(Debug, Clone, Default)]
pub struct Door(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// A connection that waits, until it is dropped.
#[derive(Debug)]
pub struct Waiting {
    door: Door,
    address: IpAddr,
}

impl Door {
    /// One more; `None` when too many of this address wait already.
    pub fn wait(&self, address: IpAddr) -> Option<Waiting> {
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= MAX_WAITING {
            return None;
        }
        *count += 1;
        Some(Waiting { door: self.clone(), address })
    }

    /// Nothing panics while it is locked.
    fn counts(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut counts = self.door.counts();
        match counts.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_so_many_and_gets_them_back() {
        let door = Door::default();
        let [one, other] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        let mut all: Vec<_> = (0..MAX_WAITING).map(|_| door.wait(one).unwrap()).collect();
        assert!(door.wait(one).is_none());
        let elsewhere = door.wait(other).unwrap();
        assert!(door.wait(one).is_none(), "its own are counted");
        all.pop();
        all.push(door.wait(one).unwrap());
        assert!(door.wait(one).is_none());
        drop((all, elsewhere));
        assert!(door.counts().is_empty(), "nothing is kept of who is gone");
    }
}
