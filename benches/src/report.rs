//! Reports: tables and plots, inserted into the documents.
//!
//! Text between `<!-- bench:name -->` and `<!-- /bench:name -->` is replaced.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::results::{Figure, Results};
use crate::server::{self, Contestant};

mod plot;
mod plots;
mod tables;
mod targets;

const DOCUMENT: &str = "docs/performance.md";

/// Returns the targets, and whether the results meet them.
pub(crate) fn targets(results: &Results) -> String {
    let tables = [("relay", targets::signaling(results)), ("media", targets::media(results))];
    tables.into_iter().filter(|(work, _)| has(results, work)).map(|(_, table)| table).collect()
}

fn has(results: &Results, work: &str) -> bool {
    results.records.iter().any(|record| record.work == work)
}

/// Writes the tables into the documents, and the plots beside them.
pub(crate) fn write(results: &Results, root: &Path) -> anyhow::Result<()> {
    let has = |work: &str| has(results, work);
    // The work of each part.
    let parts = [
        ("relay", "environment", tables::environment(results)),
        ("relay", "targets", targets::signaling(results)),
        ("relay", "candidate", tables::relay(results, "candidate")),
        ("relay", "offer", tables::relay(results, "offer")),
        ("user", "user", tables::user(results)),
        ("call", "call", tables::calls(results)),
        ("rooms", "rooms", tables::rooms(results)),
        ("idle", "idle", tables::idle(results)),
        ("many-rooms", "many-rooms", tables::many_rooms(results)),
        ("cores", "cores", tables::cores(results)),
        ("media", "media", tables::media(results)),
        ("media", "forwarding", tables::forwarding(results)),
        ("media", "beside", tables::beside(results)),
        ("media", "media-targets", targets::media(results)),
        ("media", "media-environment", tables::media_environment(results)),
    ];
    let measured =
        parts.into_iter().filter(|(work, ..)| has(work)).map(|(_, name, text)| (name, text));
    put(&root.join(DOCUMENT), &measured.collect::<Vec<_>>())?;
    if has("relay") {
        let headline = [("headline", tables::headline(results))];
        put(&root.join(DOCUMENT), &headline)?;
        put(&root.join("README.md"), &headline)?;
    }
    let folder = root.join("docs/performance");
    fs::create_dir_all(&folder)?;
    for (_, name, picture) in plots::all(results).into_iter().filter(|(work, ..)| has(work)) {
        fs::write(folder.join(name), picture)?;
    }
    Ok(())
}

/// Writes the table of instructions into its document.
pub(crate) fn instructions(counted: &BTreeMap<String, f64>, root: &Path) -> anyhow::Result<()> {
    let rows = counted.iter().map(|(name, instructions)| vec![name.clone(), number(*instructions)]);
    put(&root.join(DOCUMENT), &[("instructions", table(&["signal", "instructions"], rows))])
}

/// Writes the tables of a cluster into their document.
pub(crate) fn cluster(text: String, root: &Path) -> anyhow::Result<()> {
    put(&root.join(DOCUMENT), &[("cluster", text)])
}

/// Inserts each part into a document.
fn put(path: &Path, parts: &[(&str, String)]) -> anyhow::Result<()> {
    let mut document = fs::read_to_string(path)
        .with_context(|| format!("{} is to be written into", path.display()))?;
    for (name, text) in parts {
        document = replace(&document, name, text).with_context(|| path.display().to_string())?;
    }
    Ok(fs::write(path, document)?)
}

fn replace(document: &str, name: &str, text: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- bench:{name} -->\n"), format!("<!-- /bench:{name} -->"));
    let missing = || format!("there is no place called {name}");
    let (before, rest) = document.split_once(&begin).with_context(missing)?;
    let (_, after) = rest.split_once(&end).with_context(missing)?;
    ensure!(!after.contains(&begin), "there are two places called {name}");
    Ok(format!("{before}{begin}{}\n{end}{after}", text.trim_end()))
}

/// Returns a Markdown table.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let mut text = line(&head);
    text.push_str(&line(&vec!["---".to_owned(); head.len()]).replace(' ', ""));
    for row in rows {
        text.push_str(&line(&row));
    }
    text
}

/// Formats a number with three significant digits and thousands separators.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let digits = whole.len();
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && digit != '-' && (digits - index).is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// Formats the median.
fn median(figure: Option<Figure>) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| number(figure.median))
}

/// Formats the median, and the minimum and maximum of all rounds.
fn spread(figure: Option<Figure>) -> String {
    figure.map_or_else(
        || "–".to_owned(),
        |Figure { median, least, most }| {
            let (least, most) = (number(least), number(most));
            if least == most {
                number(median)
            } else {
                format!("{} ({least}–{most})", number(median))
            }
        },
    )
}

/// Returns the servers with results in a case, in display order.
fn contestants(results: &Results, work: &str, case: &str) -> Vec<Contestant> {
    let has_results = |contestant: &Contestant| {
        let is_meant = |record: &crate::results::Record| {
            (&*record.work, &*record.case, &*record.server) == (work, case, contestant.key)
        };
        results.records.iter().any(is_meant)
    };
    server::ALL.into_iter().filter(has_results).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_text_is_replaced_and_the_rest_is_unchanged() {
        let document = "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb\n";
        let once = replace(document, "x", "new\n").unwrap();
        assert_eq!(once, "a\n<!-- bench:x -->\nnew\n<!-- /bench:x -->\nb\n");
        assert_eq!(replace(&once, "x", "new").unwrap(), once);
        assert!(replace(document, "y", "new").is_err());
    }

    #[test]
    fn numbers_have_three_significant_digits() {
        for (value, text) in [
            (0.123, "0.12"),
            (9.994, "9.99"),
            (12.34, "12.3"),
            (99.96, "100"),
            (1234.5, "1,234"),
            (1_234_567.0, "1,234,567"),
            (-1.5, "-1.50"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
