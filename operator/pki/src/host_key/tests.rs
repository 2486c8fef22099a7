use super::*;

/// What RFC 8032 has as its first example: a seed and the public half.
const SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5,
    0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];
const PUBLIC: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72,
    0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];

#[test]
fn a_key_has_the_public_half_that_belongs_to_it() {
    let text = from_seed(&SEED).unwrap();
    assert!(text.starts_with(BEGIN) && text.ends_with("-----END OPENSSH PRIVATE KEY-----\n"));
    assert_eq!(public_blob(&text).unwrap(), fields(&[KIND, &PUBLIC]));
}

#[test]
fn what_is_no_key_has_no_public_half() {
    let text = from_seed(&SEED).unwrap();
    for broken in ["", "hello", BEGIN, &text[..80], &text.replace('A', "B"), &text.replace("OPENSSH", "RSA")] {
        assert_eq!(public_blob(broken), None, "{broken}");
    }
}

#[test]
fn ssh_keygen_reads_it() {
    let folder = std::env::temp_dir().join(format!("codekeep-host-key-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("key");
    std::fs::write(&file, from_seed(&SEED).unwrap()).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let output = std::process::Command::new("ssh-keygen").arg("-y").arg("-f").arg(&file).output();
    std::fs::remove_dir_all(&folder).unwrap();
    let output = output.expect("ssh-keygen is there (Debian: apt-get install openssh-client)");
    let line = String::from_utf8(output.stdout).unwrap();
    let expected = format!("ssh-ed25519 {}", STANDARD.encode(fields(&[KIND, &PUBLIC])));
    assert!(line.starts_with(&expected), "{line}{}", String::from_utf8_lossy(&output.stderr));
}
