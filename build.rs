//! Embeds the demo, the client bundles and the documentation in the executable:
//! `src/http/assets.rs` serves them.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;

#[path = "build/collect.rs"]
mod collect;
#[path = "build/compress.rs"]
mod compress;
#[path = "build/docs.rs"]
mod docs;

/// Files to embed, by their paths: `demo/`, `client/`, `socket.io/` and `docs/`.
type Files = BTreeMap<String, Vec<u8>>;

fn main() -> Result<(), Box<dyn Error>> {
    let variable =
        |name: &str| std::env::var_os(name).map(PathBuf::from).ok_or(format!("{name} is not set"));
    let (root, out) = (variable("CARGO_MANIFEST_DIR")?, variable("OUT_DIR")?);
    let mut files = collect::files(&root)?;
    docs::add(&root, &mut files)?;
    compress::write(&files, &out)?;
    Ok(())
}
