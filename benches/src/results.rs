//! Measured figures by work, case, server and round, and the environment they were measured in.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// The results of a run, stored in a file between measuring and reporting.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// Names and values that describe the environment: machine, versions, command.
    #[serde(alias = "surroundings")]
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) records: Vec<Record>,
}

/// One measurement of one server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) work: String,
    pub(crate) case: String,
    pub(crate) server: String,
    pub(crate) round: usize,
    pub(crate) figures: BTreeMap<String, f64>,
}

/// Statistics of a figure over all rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Results {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("no results at {}", path.display()))?;
        Ok(serde_json::from_str(&text)?)
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        fs::write(path, serde_json::to_string_pretty(self)?)
            .with_context(|| format!("{} stays as it was", path.display()))
    }

    /// Returns a figure of a server in a case; `None` if it was not measured.
    pub(crate) fn figure(
        &self,
        work: &str,
        case: &str,
        server: &str,
        name: &str,
    ) -> Option<Figure> {
        let is_meant = |record: &&Record| {
            (&*record.work, &*record.case, &*record.server) == (work, case, server)
        };
        let values = self
            .records
            .iter()
            .filter(is_meant)
            .filter_map(|record| record.figures.get(name).copied());
        Figure::of(values.collect())
    }

    /// Returns the ratio of two figures, computed per round.
    pub(crate) fn ratio(&self, of: [&str; 4], to: [&str; 4]) -> Option<Figure> {
        let find = |[work, case, server, name]: [&str; 4], round: usize| {
            let is_meant = |record: &&Record| {
                (&*record.work, &*record.case, &*record.server, record.round)
                    == (work, case, server, round)
            };
            self.records.iter().find(is_meant)?.figures.get(name).copied()
        };
        let rounds = self.records.iter().map(|record| record.round + 1).max().unwrap_or_default();
        Figure::of(
            (0..rounds).filter_map(|round| Some(find(of, round)? / find(to, round)?)).collect(),
        )
    }
}

impl Figure {
    /// Returns the figure in another unit.
    pub(crate) fn scaled(self, by: f64) -> Self {
        Self { median: self.median * by, least: self.least * by, most: self.most * by }
    }

    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self { median, least, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(server: &str, round: usize, value: f64) -> Record {
        let figures = BTreeMap::from([("f".to_owned(), value)]);
        Record {
            work: "w".to_owned(),
            case: "c".to_owned(),
            server: server.to_owned(),
            round,
            figures,
        }
    }

    #[test]
    fn the_median_is_in_the_middle_and_a_ratio_is_taken_within_a_round() {
        let records = vec![
            record("a", 0, 1.0),
            record("a", 1, 30.0),
            record("a", 2, 2.0),
            record("b", 0, 4.0),
            record("b", 1, 60.0),
            record("b", 2, 6.0),
        ];
        let results = Results { records, ..Results::default() };
        let figure = results.figure("w", "c", "a", "f").unwrap();
        assert_eq!(figure, Figure { median: 2.0, least: 1.0, most: 30.0 });
        let ratio = results.ratio(["w", "c", "b", "f"], ["w", "c", "a", "f"]).unwrap();
        assert_eq!(ratio, Figure { median: 3.0, least: 2.0, most: 4.0 });
        assert_eq!(results.figure("w", "c", "c", "f"), None);
    }
}
