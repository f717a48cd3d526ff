//! Bar and line charts as SVG, for light and dark pages.
//!
//! The charts have a transparent background, and their colours follow the browser's colour scheme.

use std::fmt::Write;

use super::number;
use crate::results::Figure;

/// Horizontal bars, a group for each server.
pub(super) struct Bars {
    pub(super) title: String,
    pub(super) unit: String,
    /// The names of the bars in a group, if there are several.
    pub(super) series: Vec<String>,
    pub(super) groups: Vec<Bar>,
}

pub(super) struct Bar {
    pub(super) label: String,
    pub(super) is_ours: bool,
    pub(super) values: Vec<Option<Figure>>,
}

/// Lines over a logarithmic axis.
pub(super) struct Lines {
    pub(super) title: String,
    pub(super) unit: String,
    pub(super) across: String,
    pub(super) servers: Vec<Line>,
}

pub(super) struct Line {
    pub(super) label: String,
    pub(super) is_ours: bool,
    pub(super) points: Vec<(f64, Figure)>,
}

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#333}\
.title{font-weight:600;font-size:15px}\
.small{font-size:12px;fill:#666}\
.ours{fill:#0b7a75}.ours.second{fill:#69b8b4}\
.other{fill:#8d97a5}.other.second{fill:#c5cbd3}\
.axis,.spread{stroke:#555;stroke-width:1;fill:none}.grid{stroke:#ddd}\
.line{fill:none;stroke-width:2}.line.ours{stroke:#0b7a75;fill:none}.line.other{stroke:#8d97a5;fill:none}\
@media(prefers-color-scheme:dark){\
text{fill:#ddd}.small{fill:#aaa}\
.ours{fill:#35b5ae}.ours.second{fill:#1d6f6b}\
.other{fill:#8d97a5}.other.second{fill:#4d5561}\
.axis,.spread{stroke:#ccc}.grid{stroke:#444}\
.line.ours{stroke:#35b5ae}}";

const WIDTH: f64 = 760.0;
/// Left end of the bars; their labels are left of it.
const LEFT: f64 = 210.0;
/// Space right of the longest bar, for its number.
const RIGHT: f64 = 70.0;
const TOP: f64 = 44.0;
const BAR: f64 = 14.0;
const GAP: f64 = 12.0;

pub(super) fn bars(plot: &Bars) -> String {
    let all = || plot.groups.iter().flat_map(|bar| bar.values.iter().flatten());
    let most = all().map(|figure| figure.most).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / most;
    let legend = if plot.series.is_empty() { 0.0 } else { 22.0 };
    let mut y = TOP + legend;
    let mut body = String::new();
    for bar in &plot.groups {
        let height = bar.values.len() as f64 * BAR;
        let class = if bar.is_ours { "ours" } else { "other" };
        text(&mut body, "", "end", LEFT - 10.0, y + height / 2.0 + 4.5, &bar.label);
        for (index, figure) in bar.values.iter().enumerate() {
            let top = y + index as f64 * BAR;
            if let Some(Figure { median, least, most }) = *figure {
                let class = if index == 0 { class.to_owned() } else { format!("{class} second") };
                rectangle(&mut body, &class, LEFT, top + 1.0, median * scale, BAR - 2.0);
                let (from, to, middle) =
                    (LEFT + least * scale, LEFT + most * scale, top + BAR / 2.0);
                _ = write!(body, r#"<path class="spread" d="M{from:.1} {middle:.1}H{to:.1}"/>"#);
                text(&mut body, "small", "start", to + 6.0, middle + 4.0, &number(median));
            }
        }
        y += height + GAP;
    }
    let mut head = String::new();
    text(&mut head, "title", "start", 0.0, 18.0, &format!("{}, {}", plot.title, plot.unit));
    let mut x = LEFT;
    for (index, series) in plot.series.iter().enumerate() {
        let class = if index == 0 { "ours" } else { "ours second" };
        rectangle(&mut head, class, x, 36.0, 12.0, 12.0);
        text(&mut head, "small", "start", x + 18.0, 46.5, series);
        x += 40.0 + 7.0 * series.chars().count() as f64;
    }
    let axis = format!(
        r#"<path class="axis" d="M{LEFT} {:.1}V{:.1}"/>"#,
        TOP + legend - 4.0,
        y - GAP + 4.0
    );
    picture(&plot.title, y, &format!("{head}{body}{axis}"))
}

pub(super) fn lines(plot: &Lines) -> String {
    const BOTTOM: f64 = 320.0;
    const BEGIN: f64 = 60.0;
    const END: f64 = WIDTH - 170.0;
    let points = || plot.servers.iter().flat_map(|line| &line.points);
    let (first, last) =
        points().fold((f64::MAX, f64::MIN_POSITIVE), |(a, b), (x, _)| (a.min(*x), b.max(*x)));
    let most = points().map(|(_, figure)| figure.most).fold(f64::MIN_POSITIVE, f64::max);
    let step = nice(most / 4.0);
    let across = |x: f64| {
        BEGIN + 20.0 + (END - BEGIN - 40.0) * ((x / first).ln() / (last / first).ln().max(1e-9))
    };
    let up = |y: f64| BOTTOM - (BOTTOM - TOP - 10.0) * y / most;
    let mut body = String::new();
    text(&mut body, "title", "start", 0.0, 18.0, &format!("{}, {}", plot.title, plot.unit));
    let mut grid = 0.0;
    while grid <= most {
        _ = write!(body, r#"<path class="grid" d="M{BEGIN} {:.1}H{END}"/>"#, up(grid));
        text(&mut body, "small", "end", BEGIN - 8.0, up(grid) + 4.0, &format!("{grid}"));
        grid += step;
    }
    let mut marks: Vec<f64> = points().map(|(x, _)| *x).collect();
    marks.sort_by(f64::total_cmp);
    marks.dedup();
    for mark in marks {
        text(
            &mut body,
            "small",
            "middle",
            across(mark),
            BOTTOM + 18.0,
            &format!("{} {}", number(mark), plot.across),
        );
    }
    for line in &plot.servers {
        let class = if line.is_ours { "ours" } else { "other" };
        let mut path = String::new();
        for (x, figure) in &line.points {
            let (x, y) = (across(*x), up(figure.median));
            _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" });
            _ = write!(body, r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="4"/>"#);
            _ = write!(
                body,
                r#"<path class="spread" d="M{x:.1} {:.1}V{:.1}"/>"#,
                up(figure.least),
                up(figure.most)
            );
        }
        _ = write!(body, r#"<path class="line {class}" d="{path}"/>"#);
        if let Some((x, figure)) = line.points.last() {
            let label = format!("{} {}", line.label, number(figure.median));
            text(&mut body, "", "start", across(*x) + 12.0, up(figure.median) + 4.0, &label);
        }
    }
    picture(&plot.title, BOTTOM + 30.0, &body)
}

/// Rounds a step up to 1, 2 or 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|nice| *nice >= step)
        .unwrap_or(step)
}

fn picture(title: &str, height: f64, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" height=\"{height:.0}\" \
         role=\"img\" aria-label=\"{}\"><style>{STYLE}</style>{body}</svg>\n",
        escape(title)
    )
}

fn rectangle(out: &mut String, class: &str, x: f64, y: f64, width: f64, height: f64) {
    _ = write!(
        out,
        r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#
    );
}

fn text(out: &mut String, class: &str, anchor: &str, x: f64, y: f64, text: &str) {
    let text = escape(text);
    _ = write!(
        out,
        r#"<text class="{class}" text-anchor="{anchor}" x="{x:.1}" y="{y:.1}">{text}</text>"#
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
