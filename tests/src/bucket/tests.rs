use super::*;
use crate::raw_http::{Response, send};

fn ask(bucket: &Bucket, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Response> {
    send(bucket.address, method, &format!("/bench/{target}"), headers, body)
}

#[test]
fn of_many_creators_of_a_key_one_wins_and_its_bytes_stay() -> Result<()> {
    let bucket = Bucket::start()?;
    for round in 0..20 {
        let key = format!("key-{round}");
        let winners: Vec<String> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..8)
                .map(|racer| {
                    let (bucket, key, body) = (&bucket, &key, format!("racer {racer}"));
                    scope.spawn(move || {
                        let status =
                            ask(bucket, "PUT", key, &[("If-None-Match", "*")], body.as_bytes()).unwrap().status;
                        assert!(status == 200 || status == 412, "{status}");
                        (status == 200).then_some(body)
                    })
                })
                .collect();
            racers.into_iter().filter_map(|racer| racer.join().unwrap()).collect()
        });
        assert_eq!(winners.len(), 1);
        assert_eq!(ask(&bucket, "GET", &key, &[], b"")?.text(), winners[0]);
    }
    Ok(())
}

#[test]
fn listings_are_in_order_and_in_pages() -> Result<()> {
    let bucket = Bucket::start()?;
    for key in ["a/2", "a/1", "b/1", "a/3", "a/x%252Fy"] {
        assert_eq!(ask(&bucket, "PUT", key, &[], b"12345")?.status, 200);
    }
    let first = ask(&bucket, "GET", "?list-type=2&prefix=a%2F&max-keys=2", &[], b"")?.text();
    assert!(first.contains("<Key>a/1</Key><Size>5</Size>") && first.contains("<Key>a/2</Key>"), "{first}");
    assert!(first.contains("<NextContinuationToken>a/2</NextContinuationToken>"), "{first}");
    let rest = ask(&bucket, "GET", "?list-type=2&prefix=a%2F&continuation-token=a%2F2", &[], b"")?.text();
    assert!(rest.contains("<Key>a/3</Key>") && rest.contains("<Key>a/x%2Fy</Key>"), "{rest}");
    assert!(rest.contains("<IsTruncated>false</IsTruncated>") && !rest.contains("b/1"), "{rest}");
    Ok(())
}

#[test]
fn a_request_takes_as_long_as_stated_and_is_recorded() -> Result<()> {
    let bucket = Bucket::start()?;
    bucket.delay(Delays { read: Duration::from_millis(15), write: Duration::from_millis(60) });
    assert_eq!(ask(&bucket, "PUT", "key", &[], b"body")?.status, 200);
    assert_eq!(ask(&bucket, "GET", "key", &[("Range", "bytes=1-2")], b"")?.text(), "od");
    assert_eq!(ask(&bucket, "DELETE", "key", &[], b"")?.status, 204);
    assert_eq!(ask(&bucket, "GET", "key", &[], b"")?.status, 404);
    let seen = bucket.take_seen();
    let told: Vec<_> = seen.iter().map(|seen| (seen.method.as_str(), seen.key.as_str(), seen.status)).collect();
    assert_eq!(told, [("PUT", "key", 200), ("GET", "key", 206), ("DELETE", "key", 204), ("GET", "key", 404)]);
    for (seen, least) in seen.iter().zip([60, 15, 60, 15]) {
        assert!(seen.ended - seen.began >= Duration::from_millis(least));
    }
    Ok(())
}
