//! Writes the files to embed, with compressed forms, and a table of them in Rust.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::Path;

use super::Files;

/// Types of files that compression makes smaller.
const COMPRESSIBLE: [&str; 7] = ["css", "html", "js", "json", "svg", "ts", "webmanifest"];

/// Smaller files fit into one packet with their header fields, compressed or not.
const MIN_COMPRESSED: usize = 512;

/// Returns the hash of named contents, 16 hexadecimal digits. It identifies a version, and is not a
/// cryptographic hash.
pub(crate) fn hash_of(parts: &[(&str, &[u8])]) -> String {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Writes each file and its compressed forms into `out`, and the table `assets.rs`. Files that are
/// already there from an earlier build are kept: their names contain the hashes of their contents.
pub(crate) fn write(files: &Files, out: &Path) -> Result<(), Box<dyn Error>> {
    let folder = out.join("assets");
    fs::create_dir_all(&folder)?;
    // Maximum compression takes seconds without optimisation, so only optimised builds use it.
    let quality =
        if std::env::var_os("OPT_LEVEL").is_some_and(|level| level == "3") { 11 } else { 5 };
    let mut current = BTreeSet::new();
    let mut keep = |name: String,
                    content: &dyn Fn() -> Result<Vec<u8>, Box<dyn Error>>|
     -> Result<_, Box<dyn Error>> {
        let path = folder.join(&name);
        if !path.is_file() {
            fs::write(&path, content()?)?;
        }
        let length = fs::metadata(&path)?.len();
        current.insert(name);
        Ok((format!("include_bytes!({:?})", path.to_string_lossy()), length))
    };
    let mut table = String::from("&[\n");
    for (path, content) in files {
        let hash = hash_of(&[("", content)]);
        let (plain, length) = keep(hash.clone(), &|| Ok(content.clone()))?;
        let is_compressible =
            path.rsplit_once('.').is_some_and(|(_, end)| COMPRESSIBLE.contains(&end));
        let (mut gzip, mut brotli) = ("None".to_owned(), "None".to_owned());
        if is_compressible && content.len() >= MIN_COMPRESSED {
            let some = |(text, size): (String, u64)| {
                if size < length { format!("Some({text})") } else { "None".to_owned() }
            };
            gzip = some(keep(format!("{hash}.gz"), &|| to_gzip(content))?);
            brotli = some(keep(format!("{hash}.{quality}.br"), &|| to_brotli(content, quality))?);
        }
        writeln!(
            table,
            "    Embedded {{ path: {path:?}, hash: {hash:?}, plain: {plain}, gzip: {gzip}, brotli: {brotli} }},"
        )?;
    }
    table.push_str("]\n");
    fs::write(out.join("assets.rs"), table)?;
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        if !current.contains(&*entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn to_gzip(content: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content)?;
    Ok(encoder.finish()?)
}

fn to_brotli(content: &[u8], quality: i32) -> Result<Vec<u8>, Box<dyn Error>> {
    let parameters = brotli::enc::BrotliEncoderParams {
        quality,
        size_hint: content.len(),
        ..Default::default()
    };
    let mut compressed = Vec::new();
    brotli::BrotliCompress(&mut &content[..], &mut compressed, &parameters)?;
    Ok(compressed)
}
