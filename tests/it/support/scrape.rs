//! Reads `/metrics`.

use std::collections::BTreeMap;

use super::TestServer;

/// The series of one scrape, by name and labels as they are written.
pub(crate) struct Scrape(BTreeMap<String, String>);

impl Scrape {
    pub(crate) async fn of(server: &TestServer) -> Self {
        Self::at(&server.url("/metrics")).await
    }

    pub(crate) async fn at(url: &str) -> Self {
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        Self::read(&answer.text().await.unwrap())
    }

    fn read(text: &str) -> Self {
        let series = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (name, value) =
                line.rsplit_once(' ').unwrap_or_else(|| panic!("no series: {line}"));
            (name.to_owned(), value.to_owned())
        });
        Self(series.collect())
    }

    /// Returns a series of whole numbers; 0 if it was never counted.
    pub(crate) fn count(&self, series: &str) -> u64 {
        self.0.get(series).map(|value| value.parse().expect("a whole number")).unwrap_or_default()
    }

    /// Returns a series that must exist.
    pub(crate) fn value(&self, series: &str) -> f64 {
        self.0[series].parse().expect("a number")
    }

    /// Returns the names of all metrics, without labels.
    pub(crate) fn names(&self) -> std::collections::BTreeSet<&str> {
        self.0.keys().map(|series| series.split('{').next().unwrap_or_default()).collect()
    }
}
