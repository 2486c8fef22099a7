use super::{StoreUrl, StoreUrlError};

#[test]
fn both_forms_are_understood() {
    assert_eq!("file:./data".parse::<StoreUrl>().unwrap().to_string(), "file:./data");
    let url = "s3://bucket/a/b?region=eu-central-1&endpoint=http://127.0.0.1:8333&path-style=true&checksum=always";
    let StoreUrl::S3(s3) = url.parse().unwrap() else { panic!("not S3") };
    assert_eq!(
        (s3.bucket.as_str(), s3.prefix.as_str(), s3.path_style, s3.checksum_always),
        ("bucket", "a/b", true, true)
    );
    assert_eq!(s3.endpoint.unwrap().as_str(), "http://127.0.0.1:8333/");
}

#[test]
fn mistakes_are_named() {
    let error = |text: &str| text.parse::<StoreUrl>().unwrap_err();
    assert_eq!(error("file:"), StoreUrlError::Form);
    assert_eq!(error("gs://bucket"), StoreUrlError::Form);
    assert_eq!(error("/data"), StoreUrlError::Form);
    assert_eq!(error("s3://key:secret@bucket"), StoreUrlError::Credentials);
    assert_eq!(error("s3://bucket?pathstyle=true"), StoreUrlError::Parameter("pathstyle".to_owned()));
    assert_eq!(error("s3://bucket?path-style=yes"), StoreUrlError::Value("path-style"));
    assert_eq!(error("s3://bucket?endpoint=ftp://x"), StoreUrlError::Value("endpoint"));
    assert_eq!(error("s3://bucket?lfs-direct=yes"), StoreUrlError::Value("lfs-direct"));
}

#[test]
fn clients_may_know_the_bucket_by_another_address() {
    let parsed = |query: &str| {
        let url = format!("s3://bucket/a?endpoint=http://inside:9000&path-style=true{query}");
        let StoreUrl::S3(s3) = url.parse().unwrap() else { panic!("not S3") };
        s3.for_clients().map(|s3| (s3.endpoint.unwrap().to_string(), s3.path_style, s3.prefix))
    };
    let seen = |endpoint: &str| Some((endpoint.to_owned(), true, "a".to_owned()));
    assert_eq!(parsed(""), None);
    assert_eq!(parsed("&lfs-direct=false"), None);
    assert_eq!(parsed("&lfs-direct=true"), seen("http://inside:9000/"));
    assert_eq!(parsed("&lfs-direct=https://s3.example.com"), seen("https://s3.example.com/"));
}
