//! The scrub reads LFS objects too: a flipped bit is found, and a scrub that takes many rounds gets on through all of them.

use model::lfs::Oid;

use super::maintenance::{Bed, DAY};
use super::{push, with_pack};
use crate::digest::sha256;
use crate::{LfsObjects, ObjectStore as _, Policy};

const MIB: usize = 1 << 20;

async fn upload(objects: &LfsObjects, content: &[u8]) -> Oid {
    let oid = Oid::of(sha256(content));
    let received = objects.receive(oid, content.len() as u64, &mut &*content).unwrap();
    objects.keep(received).await.unwrap();
    oid
}

/// A repository with LFS objects of these sizes, all named, so that none goes; and their keys.
async fn stored(bed: &Bed, sizes: &[usize]) -> Vec<String> {
    let repository = bed.server.open().await;
    let objects = bed.server.repositories.lfs(repository.id());
    let (mut keys, mut text) = (Vec::new(), String::new());
    for (number, size) in sizes.iter().enumerate() {
        let oid = upload(&objects, &vec![u8::try_from(number).unwrap(); *size]).await;
        keys.push(crate::keys::lfs(repository.id(), &oid, 0));
        text += &oid.to_string();
    }
    repository.commit(with_pack(push(&[("main", None, Some(0))]), text.as_bytes())).await.unwrap();
    keys
}

async fn problems(bed: &Bed) -> Vec<String> {
    let other = bed.another();
    let repository = other.open().await;
    repository.known().upkeep.scrub.clone().map(|scrub| scrub.problems).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_is_found_and_told_until_it_is_mended() {
    let bed = Bed::with(Policy::default());
    let keys = stored(&bed, &[3 * MIB + 5, 10, 0]).await;
    bed.clock.advance(31 * DAY);
    assert_eq!(bed.maintain().await.damaged, 0);
    assert_eq!(problems(&bed).await, Vec::<String>::new());
    for (key, at) in [(&keys[0], 2 * MIB), (&keys[1], 3)] {
        bed.store.tamper(key, |bytes| bytes[at] ^= 1);
        bed.clock.advance(31 * DAY);
        assert_eq!(bed.maintain().await.damaged, 1, "{key}");
        let told = problems(&bed).await;
        assert!(told.len() == 1 && told[0].contains(key.as_str()), "{told:?}");
        bed.store.tamper(key, |bytes| bytes[at] ^= 1);
        bed.clock.advance(2 * DAY);
        assert_eq!(bed.maintain().await.damaged, 0, "{key}");
        assert_eq!(problems(&bed).await, Vec::<String>::new());
    }
    bed.store.delete(&keys[0]).await.unwrap();
    bed.clock.advance(31 * DAY);
    assert_eq!(bed.maintain().await.damaged, 1);
    bed.store.tamper(&format!("{}.sums", keys[1]), |bytes| bytes[30] ^= 1);
    bed.clock.advance(2 * DAY);
    assert_eq!(bed.maintain().await.damaged, 2);
}

#[tokio::test(start_paused = true)]
async fn a_scrub_of_many_rounds_goes_on_where_it_was_also_on_another_server() {
    // Ten chunks in a round.
    let bed = Bed::with(Policy { scrub_rate: (1 << 20) / 600, ..Policy::default() });
    let keys = stored(&bed, &[45 * MIB, MIB, 10]).await;
    let damaged = &keys[1];
    bed.store.tamper(damaged, |bytes| bytes[5] ^= 1);
    bed.clock.advance(31 * DAY);
    let kept = || bed.store.keys().into_iter().any(|key| key.ends_with("/lfs-scrub"));
    let path = "team-a/hello".parse().unwrap();
    let (mut found, mut rounds) = (0, 0);
    while rounds == 0 || kept() {
        // Each round on a server that has only just started, and waits for the lease of the one before.
        let fresh = bed.another();
        fresh.repositories.maintain(&path).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(61)).await;
        found += fresh.repositories.maintain(&path).await.unwrap().damaged;
        if !problems(&bed).await.is_empty() {
            // Told at once, after which there is a day until it is looked again.
            bed.clock.advance(2 * DAY);
        }
        rounds += 1;
        assert!(rounds < 40, "it does not come to an end");
    }
    assert!(rounds >= 3, "{rounds} rounds");
    assert!(found >= 1);
    let told = problems(&bed).await;
    assert!(told.len() == 1 && told[0].contains(damaged.as_str()), "{told:?}");
}
