//! Another store becomes the primary one.

use super::*;
use crate::{Loss, PromoteError};

/// Both servers see the same, and go on.
async fn goes_on(servers: &[Server], from: u32) {
    for (server, number) in servers.iter().zip(from..) {
        pushed(server, number, 50).await.unwrap();
    }
    let mut digests = vec![];
    for server in servers {
        let repository = server.open().await;
        let known = repository.snapshot().await.unwrap();
        for number in (from..).take(servers.len()) {
            assert!(has(&repository, number), "{number}");
        }
        digests.push(known.digest);
        repository.local_packs(&known).await.unwrap();
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn a_primary_store_that_can_be_reached_hands_over_everything() {
    for mode in [ReplicationMode::Asynchronous, ReplicationMode::Synchronous] {
        let bed = Bed::new(mode, &["far", "third"], None);
        let servers = [bed.server(), bed.server()];
        for number in 1..10 {
            pushed(&servers[number as usize % 2], number, if number == 5 { 300 << 10 } else { 50 }).await.unwrap();
        }
        let done = servers[0].repositories.promote(&path(), "far", Loss::Refuse).await.unwrap();
        assert_eq!((done.epoch, done.generation, done.left_behind, done.is_new), (1, 9, Some(0), true));
        assert_eq!((done.primary.as_str(), done.was.as_deref()), ("far", Some("default")));
        goes_on(&servers, 20).await;
        let status = servers[1].open().await.replication().unwrap();
        assert_eq!((status.primary.as_str(), status.epoch), ("far", 1), "{mode}");
        let again = servers[1].repositories.promote(&path(), "far", Loss::Refuse).await.unwrap();
        assert!(!again.is_new && again.epoch == 1);
        // A server that has never heard of it, and the way back.
        let cold = bed.server();
        assert_eq!(cold.open().await.snapshot().await.unwrap().generation, 11);
        in_step(&servers[1].open().await).await;
        let back = cold.repositories.promote(&path(), "default", Loss::Refuse).await.unwrap();
        assert_eq!((back.epoch, back.generation), (2, 11));
        goes_on(&servers, 30).await;
        // Each store alone has everything.
        let repository = servers[0].open().await;
        servers[0].repositories.replicate(&path()).await.unwrap();
        in_step(&repository).await;
        for name in ["default", "far", "third"] {
            let alone = Server::new(bed.site(name).objects.clone());
            let copy = alone.open().await;
            let known = copy.snapshot().await.unwrap();
            assert_eq!(known.generation, repository.known().generation, "{mode}: {name}");
            assert_eq!(known.digest, repository.known().digest, "{mode}: {name}");
            let report = alone.repositories.check(&path()).await.unwrap().unwrap();
            assert_eq!(report.problems, Vec::<String>::new(), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_primary_store_is_replaced_and_what_it_held_beyond_is_kept_and_never_served() {
    let bed = Bed::new(ReplicationMode::Synchronous, &["far"], None);
    let servers = [bed.server(), bed.server()];
    for number in 1..5 {
        pushed(&servers[number as usize % 2], number, 50).await.unwrap();
    }
    // One that is not acknowledged, because only the primary store has it.
    bed.site("far").fill(true);
    assert!(pushed(&servers[0], 5, 50).await.is_err());
    bed.site("far").fill(false);
    bed.site("default").cut_off(true);
    assert!(pushed(&servers[1], 6, 50).await.is_err());
    let done = servers[1].repositories.promote(&path(), "far", Loss::Refuse).await.unwrap();
    assert_eq!((done.epoch, done.generation, done.left_behind), (1, 4, None));
    goes_on(&servers, 20).await;
    assert!(!has(&servers[0].open().await, 5));
    // It comes back, and has to follow; a server that was not there meanwhile does as well.
    bed.site("default").cut_off(false);
    let cold = bed.server();
    let repository = cold.open().await;
    pushed(&cold, 40, 50).await.unwrap();
    in_step(&repository).await;
    assert!(!has(&repository, 5) && has(&repository, 20) && has(&repository, 21));
    let id = repository.id().clone();
    let old = bed.site("default").log(&id, 0).await;
    assert_eq!(old.len(), 6, "four entries, the one that came too late, a marker");
    let alone = Server::new(bed.site("default").objects.clone());
    let copy = alone.open().await;
    assert_eq!(copy.snapshot().await.unwrap().digest, repository.known().digest);
    assert!(!has(&copy, 5));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_missed_an_epoch_is_promoted_with_all_that_it_missed() {
    let bed = Bed::new(ReplicationMode::Synchronous, &["far", "third"], None);
    let server = bed.server();
    let promote = async |to| server.repositories.promote(&path(), to, Loss::Refuse).await;
    pushed(&server, 1, 50).await.unwrap();
    promote("far").await.unwrap();
    pushed(&server, 2, 50).await.unwrap();
    bed.site("far").cut_off(true);
    promote("third").await.unwrap();
    pushed(&server, 3, 300 << 10).await.unwrap();
    promote("default").await.unwrap();
    bed.site("default").cut_off(true);
    bed.site("far").cut_off(false);
    let done = promote("far").await.unwrap();
    assert_eq!((done.epoch, done.generation), (4, 3));
    pushed(&server, 4, 50).await.unwrap();
    let repository = server.open().await;
    for number in 1..=4 {
        assert!(has(&repository, number), "{number}");
    }
    let alone = Server::new(bed.site("far").objects.clone());
    let copy = alone.open().await;
    assert_eq!(copy.snapshot().await.unwrap().digest, repository.known().digest);
    copy.local_packs(&copy.known()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_writes_to_an_old_primary_store_that_is_cut_off_from_the_rest() {
    let bed = Bed::new(ReplicationMode::Synchronous, &["far", "third"], Some(2));
    let old = bed.server();
    for number in 1..5 {
        pushed(&old, number, 50).await.unwrap();
    }
    in_step(&old.open().await).await;
    // Somebody else cannot reach the primary store, and does not wait for the one who can.
    bed.site("default").cut_off(true);
    let new = bed.server();
    let done = new.repositories.promote(&path(), "third", Loss::Refuse).await.unwrap();
    assert_eq!((done.epoch, done.generation), (1, 4));
    pushed(&new, 20, 50).await.unwrap();
    bed.site("default").cut_off(false);
    // It has heard nothing; what it writes is either refused or in the log that counts.
    pushed(&old, 21, 50).await.unwrap();
    let repository = new.open().await;
    repository.snapshot().await.unwrap();
    assert!(has(&repository, 20) && has(&repository, 21));
    assert_eq!(old.open().await.replication().unwrap().primary, "third");
}

#[tokio::test(start_paused = true)]
async fn what_may_be_lost_is_lost_only_when_somebody_says_so() {
    let bed = Bed::new(ReplicationMode::Asynchronous, &["far"], None);
    let server = bed.server();
    pushed(&server, 1, 50).await.unwrap();
    in_step(&server.open().await).await;
    bed.site("far").cut_off(true);
    pushed(&server, 2, 50).await.unwrap();
    bed.site("far").cut_off(false);
    bed.site("default").cut_off(true);
    let refused = server.repositories.promote(&path(), "far", Loss::Refuse).await.unwrap_err();
    assert!(matches!(&refused, PromoteError::Unsafe(reason) if reason.contains("'default'")), "{refused}");
    let unknown = server.repositories.promote(&path(), "nowhere", Loss::Accept).await.unwrap_err();
    assert!(matches!(unknown, PromoteError::Unknown(_)), "{unknown}");
    let done = server.repositories.promote(&path(), "far", Loss::Accept).await.unwrap();
    assert_eq!((done.epoch, done.generation, done.left_behind), (1, 1, None));
    pushed(&server, 3, 50).await.unwrap();
    let repository = server.open().await;
    assert!(has(&repository, 1) && !has(&repository, 2) && has(&repository, 3));
    bed.site("default").cut_off(false);
    server.repositories.replicate(&path()).await.unwrap();
    in_step(&repository).await;
    assert!(!has(&bed.server().open().await, 2));
}

#[tokio::test]
async fn pushes_go_on_while_stores_take_turns() {
    let bed = Bed::new(ReplicationMode::Synchronous, &["far", "third"], None);
    let servers = [bed.server(), bed.server()];
    pushed(&servers[0], 1, 50).await.unwrap();
    let writers = servers.iter().zip(0..).map(async |(server, lane): (_, u32)| {
        let mut done = vec![];
        for number in 0..60 {
            let number = 10 + lane * 100 + number;
            match pushed(server, number, 20).await {
                Ok(_) => done.push(number),
                Err(error) => assert_eq!(error.kind(), model::error::Kind::Unavailable, "{error}"),
            }
        }
        done
    });
    let mover = async {
        for to in ["far", "third", "default", "far"] {
            tokio::time::sleep(Duration::from_millis(40)).await;
            let done = servers[0].repositories.promote(&path(), to, Loss::Refuse).await.unwrap();
            assert_eq!(done.primary, to);
        }
    };
    let (acknowledged, ()) = tokio::join!(join_all(writers), mover);
    for server in &servers {
        let repository = server.open().await;
        repository.snapshot().await.unwrap();
        for number in acknowledged.iter().flatten() {
            assert!(has(&repository, *number), "{number} was acknowledged and is lost");
        }
    }
    assert!(acknowledged.iter().flatten().count() > 60, "{acknowledged:?}");
}

/// Has one server look after the replicas, as servers do each half minute.
async fn look(server: &Server, minutes: u64) {
    for _ in 0..minutes * 2 {
        server.repositories.replicate(&path()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
}

/// The log of this store is closed, as by somebody who promotes and is killed then.
async fn closed(bed: &Bed, server: &Server, name: &str) {
    let id = server.open().await.id().clone();
    let site = Arc::new(bed.site(name).clone());
    Member::new(name.into(), site, id, Arc::default()).close(0).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_was_left_half_way_is_ended_by_the_servers() {
    for mode in [ReplicationMode::Asynchronous, ReplicationMode::Synchronous] {
        let bed = Bed::new(mode, &["far", "third"], None);
        let servers = [bed.server(), bed.server()];
        pushed(&servers[0], 1, 50).await.unwrap();
        in_step(&servers[0].open().await).await;
        // Closed, and nothing decided: the primary store stays what it is.
        closed(&bed, &servers[0], "default").await;
        assert!(pushed(&servers[0], 2, 50).await.is_err());
        look(&servers[1], 2).await;
        let status = servers[1].open().await.replication().unwrap();
        assert_eq!((status.primary.as_str(), status.epoch), ("default", 1), "{mode}");
        goes_on(&servers, 20).await;
        // Decided, and nobody told.
        servers[0].repositories.replicate(&path()).await.unwrap();
        in_step(&servers[0].open().await).await;
        let id = servers[0].open().await.id().clone();
        let base = servers[0].open().await.known().generation;
        let decided = epoch::Epoch {
            number: 2,
            primary: "third".to_owned(),
            base,
            without: vec![],
            time: jiff::Timestamp::UNIX_EPOCH,
        };
        let key = keys::promotion(&id, 2);
        bed.site("far").objects.put(&key, decided.encode().unwrap()).await.unwrap();
        let now = Arc::new(Epochs::read(&bed.site("default").objects, &id).await.unwrap());
        Member::new("default".into(), Arc::new(bed.site("default").clone()), id, now).close(0).await.unwrap();
        look(&servers[0], 2).await;
        let status = servers[0].open().await.replication().unwrap();
        assert_eq!((status.primary.as_str(), status.epoch), ("third", 2), "{mode}");
        goes_on(&servers, 30).await;
    }
}

#[tokio::test(start_paused = true)]
async fn replicas_that_were_closed_for_nothing_take_pushes_again() {
    let bed = Bed::new(ReplicationMode::Synchronous, &["far"], None);
    let servers = [bed.server(), bed.server()];
    pushed(&servers[0], 1, 50).await.unwrap();
    closed(&bed, &servers[0], "far").await;
    assert!(pushed(&servers[0], 2, 50).await.is_err());
    look(&servers[0], 2).await;
    let status = servers[0].open().await.replication().unwrap();
    assert_eq!((status.primary.as_str(), status.epoch), ("default", 1));
    goes_on(&servers, 20).await;
}
