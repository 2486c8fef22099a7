//! All ways in which a store of three may be lost, one after the other: minutes each, in the tier `peers`.

use std::time::Duration;

use anyhow::Result;
use tests::s3::S3Kind::{MinIo, SeaweedFs};

use super::fault::Fault;
use super::primary::{self, Return};
use super::site::Place;
use super::{TWO_OF_THREE, places, replica};

/// Each push has to be everywhere.
const ALL_OF_THREE: &str = "{mode: Synchronous, stores: [far, third]}";
const ASYNCHRONOUS: &str = "{mode: Asynchronous, stores: [far]}";

#[test]
#[ignore = "peers tier: minutes"]
fn the_primary_is_killed_and_comes_back_as_a_replica() -> Result<()> {
    primary::killed_for_good(places(&[SeaweedFs; 3])?, TWO_OF_THREE, Return::Waited)
}

#[test]
#[ignore = "peers tier: minutes"]
fn replicas_come_and_go_in_every_way_on_seaweedfs() -> Result<()> {
    replica::comes_and_goes(places(&[SeaweedFs; 3])?, TWO_OF_THREE, &every_fault())
}

#[test]
#[ignore = "peers tier: minutes, needs MinIO"]
fn replicas_come_and_go_in_every_way_on_minio_and_seaweedfs() -> Result<()> {
    replica::comes_and_goes(places(&[SeaweedFs, MinIo, SeaweedFs])?, TWO_OF_THREE, &every_fault())
}

/// Each fault, now of this replica, now of that.
fn every_fault() -> [(usize, Fault); 6] {
    [
        (1, Fault::Killed),
        (2, Fault::Killed),
        (1, Fault::Frozen),
        (2, Fault::Cut),
        (1, Fault::Blocked),
        (2, Fault::Slow(Duration::from_secs(2))),
    ]
}

#[test]
#[ignore = "peers tier: minutes"]
fn an_asynchronous_replica_comes_and_goes_in_every_way() -> Result<()> {
    let faults = [Fault::Killed, Fault::Frozen, Fault::Cut, Fault::Blocked].map(|fault| (1, fault));
    replica::comes_and_goes(places(&[SeaweedFs, SeaweedFs])?, ASYNCHRONOUS, &faults)
}

#[test]
#[ignore = "peers tier: minutes"]
fn a_replica_with_a_full_disk_is_caught_up_when_there_is_room() -> Result<()> {
    let places = vec![Place::start(SeaweedFs)?, Place::on_small_disk(200)?, Place::start(SeaweedFs)?];
    replica::comes_and_goes(places, TWO_OF_THREE, &[(1, Fault::Full)])
}

#[test]
#[ignore = "peers tier: minutes"]
fn a_damaged_replica_is_noticed_and_never_served() -> Result<()> {
    replica::damaged(places(&[SeaweedFs; 3])?, TWO_OF_THREE)
}

#[test]
#[ignore = "peers tier: minutes, needs MinIO"]
fn a_damaged_replica_on_minio_is_noticed_and_never_served() -> Result<()> {
    replica::damaged(places(&[SeaweedFs, MinIo, SeaweedFs])?, TWO_OF_THREE)
}

#[test]
#[ignore = "peers tier: minutes"]
fn a_server_starts_while_a_replica_is_away() -> Result<()> {
    replica::away_at_the_start(places(&[SeaweedFs; 3])?, TWO_OF_THREE)
}

#[test]
#[ignore = "peers tier: minutes"]
fn the_primary_is_killed_for_good_when_all_had_to_have_each_push() -> Result<()> {
    primary::killed_for_good(places(&[SeaweedFs; 3])?, ALL_OF_THREE, Return::Waited)
}

#[test]
#[ignore = "peers tier: minutes, needs MinIO"]
fn the_primary_on_minio_is_killed_for_good_and_nothing_acknowledged_is_lost() -> Result<()> {
    primary::killed_for_good(places(&[MinIo, SeaweedFs, MinIo])?, TWO_OF_THREE, Return::Waited)
}

#[test]
#[ignore = "peers tier: minutes"]
fn an_asynchronous_primary_is_killed_and_what_was_not_copied_is_all_that_is_lost() -> Result<()> {
    primary::loss_is_accepted(places(&[SeaweedFs, SeaweedFs])?, ASYNCHRONOUS)
}

#[test]
#[ignore = "peers tier: minutes, needs MinIO"]
fn an_asynchronous_primary_on_minio_is_killed_and_what_was_not_copied_is_all_that_is_lost() -> Result<()> {
    primary::loss_is_accepted(places(&[MinIo, SeaweedFs])?, ASYNCHRONOUS)
}

#[test]
#[ignore = "peers tier: minutes"]
fn reads_go_on_while_the_primary_is_away() -> Result<()> {
    primary::away(places(&[SeaweedFs; 3])?, ALL_OF_THREE, &[Fault::Killed, Fault::Frozen, Fault::Cut, Fault::Blocked])
}

#[test]
#[ignore = "peers tier: minutes"]
fn the_primary_moves_to_and_fro_under_load() -> Result<()> {
    primary::moves(places(&[SeaweedFs; 3])?, TWO_OF_THREE)
}

#[test]
#[ignore = "peers tier: minutes"]
fn the_primary_moves_although_one_store_is_lost() -> Result<()> {
    primary::moves_without_a_third(places(&[SeaweedFs; 3])?, TWO_OF_THREE)
}

#[test]
#[ignore = "peers tier: minutes"]
fn a_manifest_moves_the_primary() -> Result<()> {
    primary::moves_by_manifest(places(&[SeaweedFs, SeaweedFs])?)
}

#[test]
#[ignore = "peers tier: minutes"]
fn a_server_that_alone_reaches_the_old_primary_acknowledges_nothing_that_is_lost() -> Result<()> {
    primary::two_sides(places(&[SeaweedFs; 3])?, TWO_OF_THREE)
}
