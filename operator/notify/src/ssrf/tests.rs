use super::*;

#[test]
fn special_addresses_are_refused_in_every_notation() {
    let filter = Filter::default();
    for url in [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://0.0.0.0/",
        "http://10.1.2.3/",
        "http://169.254.169.254/latest/meta-data",
        "http://192.168.0.1/",
        "http://172.16.0.1/",
        "http://100.64.0.1/",
        "http://198.18.0.1/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a00:1]/",
        "http://[fe80::1]/",
        "http://[fc00::1]/",
        "http://[fd00:ec2::254]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[2001:db8::1]/",
        "http://[ff02::1]/",
        "http://[::127.0.0.1]/",
    ] {
        assert!(filter.check(&Url::parse(url).unwrap()).is_err(), "{url}");
    }
    for url in ["http://93.184.216.34/", "https://[2606:4700::1111]/", "https://example.com/"] {
        assert!(filter.check(&Url::parse(url).unwrap()).is_ok(), "{url}");
    }
}

#[test]
fn a_permitted_network_is_reached_also_when_mapped() {
    let filter = Filter::new(vec!["127.0.0.0/8".parse().unwrap()]);
    assert!(filter.check(&Url::parse("http://127.0.0.1:9/").unwrap()).is_ok());
    assert!(filter.check(&Url::parse("http://[::ffff:127.0.0.1]/").unwrap()).is_ok());
    assert!(filter.check(&Url::parse("http://10.0.0.1/").unwrap()).is_err());
}

#[tokio::test]
async fn a_name_that_points_at_loopback_is_refused() {
    let name: Name = "localhost".parse().unwrap();
    let refused = Filter::default().resolve(name).await.err().unwrap();
    assert!(refused.to_string().contains("not public"), "{refused}");
}
