//! How many connections there may be: in all, before they have proven anything, and of one address. Pure counting.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::address::network_of;

/// Most connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    /// In all.
    pub(super) open: usize,
    /// That have not proven a key yet.
    pub(super) unproven: usize,
    /// Of one address.
    pub(super) of_address: usize,
    /// Of one address, that have not proven a key yet.
    pub(super) unproven_of_address: usize,
}

/// Counts connections.
#[derive(Debug)]
pub(super) struct Limits {
    most: Most,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: Count,
    by_address: HashMap<IpAddr, Count>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    open: usize,
    unproven: usize,
}

/// The place of one connection, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    limits: Arc<Limits>,
    address: IpAddr,
    proven: bool,
}

impl Limits {
    pub(super) fn new(most: Most) -> Arc<Self> {
        Arc::new(Self { most, counts: Mutex::default() })
    }

    /// A place for a connection from this address, if there is one.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = network_of(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (counts.all, counts.by_address.get(&address).copied().unwrap_or_default());
        let most = self.most;
        if all.open >= most.open
            || all.unproven >= most.unproven
            || own.open >= most.of_address
            || own.unproven >= most.unproven_of_address
        {
            return None;
        }
        for count in counts.both(address) {
            count.open += 1;
            count.unproven += 1;
        }
        drop(counts);
        Some(Place { limits: Arc::clone(self), address, proven: false })
    }
}

impl Counts {
    fn both(&mut self, address: IpAddr) -> [&mut Count; 2] {
        [&mut self.all, self.by_address.entry(address).or_default()]
    }
}

impl Place {
    /// The client has proven a key.
    pub(super) fn prove(&mut self) {
        if std::mem::replace(&mut self.proven, true) {
            return;
        }
        let mut counts = self.limits.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.both(self.address).into_iter().for_each(|count| count.unproven -= 1);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.limits.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for count in counts.both(self.address) {
            count.open -= 1;
            count.unproven -= usize::from(!self.proven);
        }
        if counts.by_address.get(&self.address).is_some_and(|count| count.open == 0) {
            counts.by_address.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests;
