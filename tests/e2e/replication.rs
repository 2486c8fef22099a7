//! Repositories in several buckets, each on an S3 server of its own, of which one at a time is killed, frozen, cut off, slowed, full
//! or damaged while people push and clone: what was acknowledged is there, and replicas get what they missed.

mod chaos;
mod fault;
mod load;
mod log;
mod primary;
mod replica;
mod site;
mod verified;

use anyhow::Result;
use tests::s3::S3Kind::SeaweedFs;

use fault::Fault;
use primary::Return;
use site::Place;

/// Both of two buckets.
const BOTH: &str = "{mode: Synchronous, stores: [far]}";
/// Any two of three buckets.
const TWO_OF_THREE: &str = "{mode: Synchronous, stores: [far, third], quorum: 2}";

fn places(kinds: &[tests::s3::S3Kind]) -> Result<Vec<Place>> {
    kinds.iter().map(|kind| Place::start(*kind)).collect()
}

#[test]
fn a_replica_is_killed_and_pushes_go_on() -> Result<()> {
    replica::comes_and_goes(places(&[SeaweedFs; 3])?, TWO_OF_THREE, &[(1, Fault::Killed)])
}

#[test]
fn the_primary_is_killed_for_good_and_nothing_acknowledged_is_lost() -> Result<()> {
    primary::killed_for_good(places(&[SeaweedFs; 3])?, TWO_OF_THREE, Return::Left)
}

#[test]
fn what_one_bucket_has_damaged_comes_back_from_another() -> Result<()> {
    verified::mended(places(&[SeaweedFs; 2])?, BOTH)
}
