//! Writes `crds/manifests`: the only writer of that folder.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    std::fs::create_dir_all(&folder)?;
    for (name, content) in crds::manifests() {
        std::fs::write(folder.join(name), content)?;
    }
    Ok(())
}
