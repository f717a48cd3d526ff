//! Renders the documentation: a page for each Markdown file, and the index for their search.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use pulldown_cmark::{CowStr, Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd, html};

use super::Files;

/// A page: its name in the address, its file, and its title in the navigation.
struct Page {
    name: &'static str,
    file: &'static str,
    title: &'static str,
}

const fn page(name: &'static str, file: &'static str, title: &'static str) -> Page {
    Page { name, file, title }
}

/// The navigation: groups of pages. Files that do not exist are left out.
const GROUPS: [(&str, &[Page]); 4] = [
    ("Start", &[page("index", "docs/start.md", "Which protocol?")]),
    (
        "Clients",
        &[
            page("frontend", "docs/frontend.md", "Socket.IO"),
            page("profiles", "docs/profiles.md", "Event profiles"),
            page("envelope", "docs/envelope.md", "Envelopes: /ws"),
            page("sfu", "docs/sfu.md", "Media server (SFU)"),
            page("session", "docs/session.md", "Calls by link: /signal"),
            page("topic", "docs/topic.md", "Topics: /ws/{topic}"),
            page("client", "packages/client/README.md", "@parlor/client"),
            page("react", "packages/react/README.md", "@parlor/react"),
            page("python", "clients/python/README.md", "Python"),
        ],
    ),
    (
        "Operation",
        &[
            page("install", "docs/install.md", "Installation"),
            page("operators", "docs/operators.md", "Settings and operation"),
            page("cluster", "docs/cluster.md", "Several nodes"),
            page("security", "docs/security.md", "Security"),
            page("performance", "docs/performance.md", "Performance"),
        ],
    ),
    ("Reference", &[page("events", "docs/events.md", "Socket.IO events")]),
];

/// The page of the reference, which is drawn from the `OpenAPI` and `AsyncAPI` documents.
const REFERENCE: (&str, &str) = ("reference", "REST and WebSocket messages");

const TEMPLATE: &str = include_str!("page.html");

const REFERENCE_CONTENT: &str = include_str!("reference.html");

/// Maximum length of a text in the search index, in characters.
const MAX_INDEXED: usize = 1200;

/// Adds the pages, their images and the search index.
pub(crate) fn add(root: &Path, files: &mut Files) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", root.join("docs").display());
    let mut sources = BTreeMap::new();
    for page in GROUPS.iter().flat_map(|(_, pages)| *pages) {
        let path = root.join(page.file);
        if let Ok(text) = fs::read_to_string(&path) {
            println!("cargo::rerun-if-changed={}", path.display());
            sources.insert(page.name, text);
        }
    }
    let mut index = Vec::new();
    for (group, pages) in GROUPS {
        for page in pages.iter().filter(|page| sources.contains_key(page.name)) {
            let rendered = render(root, page, &sources[page.name], &sources, files)?;
            let title = if page.name == "index" {
                "Parlor: documentation".to_owned()
            } else {
                format!("{}: Parlor", page.title)
            };
            let navigation = navigation(page.name, &sources, &rendered.headings);
            let text = fill(&[
                ("title", &escape(&title)),
                ("description", "Documentation of Parlor, a signaling server for WebRTC."),
                ("scripts", ""),
                ("group", group),
                ("navigation", &navigation),
                ("class", "guide"),
                ("content", &rendered.html),
            ]);
            files.insert(format!("docs/{}.html", page.name), text.into_bytes());
            for section in rendered.sections {
                index.push(section.to_json(page));
            }
        }
    }
    let text = fill(&[
        ("title", "Parlor: reference"),
        (
            "description",
            "Every REST operation and every WebSocket message of a Parlor signaling server.",
        ),
        ("scripts", "\n    <script src=\"/docs/reference.js\" defer></script>"),
        ("group", "Reference"),
        ("navigation", &navigation(REFERENCE.0, &sources, &[])),
        ("class", "reference"),
        ("content", REFERENCE_CONTENT),
    ]);
    files.insert(format!("docs/{}.html", REFERENCE.0), text.into_bytes());
    files.insert("docs/search.json".to_owned(), format!("[{}]", index.join(",\n")).into_bytes());
    Ok(())
}

/// Returns the template with values in place of their names. The content is the last one, so that
/// it stays as it is.
fn fill(values: &[(&str, &str)]) -> String {
    values.iter().fold(TEMPLATE.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{{{name}}}}}"), value)
    })
}

fn address(name: &str) -> String {
    if name == "index" { "/docs/".to_owned() } else { format!("/docs/{name}") }
}

fn navigation(
    current: &str,
    sources: &BTreeMap<&str, String>,
    headings: &[(String, String)],
) -> String {
    let mut text = String::new();
    for (group, pages) in GROUPS {
        _ = write!(text, "<p class=\"contents-part\">{group}</p><ul>");
        let mut entries: Vec<(&str, &str)> = pages
            .iter()
            .filter(|page| sources.contains_key(page.name))
            .map(|page| (page.name, page.title))
            .collect();
        if group == "Reference" {
            entries.insert(0, REFERENCE);
        }
        for (name, title) in entries {
            let mark = if name == current { " aria-current=\"page\"" } else { "" };
            _ = write!(text, "<li><a href=\"{}\"{mark}>{}</a>", address(name), escape(title));
            if name == current && headings.len() > 1 {
                text.push_str("<ul>");
                for (id, title) in headings {
                    _ = write!(text, "<li><a href=\"#{id}\">{}</a></li>", escape(title));
                }
                text.push_str("</ul>");
            }
            text.push_str("</li>");
        }
        text.push_str("</ul>");
    }
    text
}

/// A page as HTML, with its second-level headings, and its text by section.
struct Rendered {
    html: String,
    headings: Vec<(String, String)>,
    sections: Vec<Section>,
}

/// The text below one heading, for search.
#[derive(Default)]
struct Section {
    id: String,
    heading: String,
    text: String,
}

impl Section {
    fn to_json(&self, page: &Page) -> String {
        let text: String = self
            .text
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .chars()
            .take(MAX_INDEXED)
            .collect();
        let anchor = if self.id.is_empty() { String::new() } else { format!("#{}", self.id) };
        let fields = [
            ("url", format!("{}{anchor}", address(page.name))),
            ("page", page.title.to_owned()),
            ("heading", self.heading.clone()),
            ("text", text),
        ];
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("\"{name}\":{}", quoted(value))).collect();
        format!("{{{}}}", fields.join(","))
    }
}

fn render(
    root: &Path,
    page: &Page,
    text: &str,
    sources: &BTreeMap<&str, String>,
    files: &mut Files,
) -> Result<Rendered, Box<dyn Error>> {
    let mut events: Vec<Event> =
        Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH).collect();
    let (mut headings, mut sections, mut ids) =
        (Vec::new(), vec![Section::default()], BTreeMap::new());
    let mut open: Option<usize> = None;
    for position in 0..events.len() {
        match &events[position] {
            Event::Start(Tag::Heading { .. }) => {
                open = Some(position);
                sections.push(Section::default());
            }
            Event::End(TagEnd::Heading(level)) => {
                let (level, start) = (*level, open.take().unwrap_or(position));
                let section = sections.last_mut().expect("one is open");
                std::mem::take(&mut section.text).trim().clone_into(&mut section.heading);
                section.id = unique(slug(&section.heading), &mut ids);
                if level == HeadingLevel::H2 {
                    headings.push((section.id.clone(), section.heading.clone()));
                }
                let id = CowStr::from(section.id.clone());
                let (classes, attrs) = (Vec::new(), Vec::new());
                events[start] = Event::Start(Tag::Heading { level, id: Some(id), classes, attrs });
            }
            Event::Text(text) | Event::Code(text) => {
                let section = sections.last_mut().expect("one is open");
                section.text.push_str(text);
            }
            Event::SoftBreak | Event::HardBreak | Event::End(_) => {
                sections.last_mut().expect("one is open").text.push(' ');
            }
            Event::Start(Tag::Link { dest_url, link_type, title, id })
                if *link_type != LinkType::Autolink =>
            {
                let dest_url = link(page, dest_url, sources).into();
                let (link_type, title, id) = (*link_type, title.clone(), id.clone());
                events[position] = Event::Start(Tag::Link { link_type, dest_url, title, id });
            }
            Event::Start(Tag::Image { dest_url, link_type, title, id }) => {
                let path = resolve(page.file, dest_url);
                let name = path.strip_prefix("docs/").unwrap_or(&path).to_owned();
                files.insert(format!("docs/{name}"), super::collect::read(&root.join(&path))?);
                let (link_type, title, id) = (*link_type, title.clone(), id.clone());
                let dest_url = format!("/docs/{name}").into();
                events[position] = Event::Start(Tag::Image { link_type, dest_url, title, id });
            }
            _ => {}
        }
    }
    let mut rendered = String::new();
    html::push_html(&mut rendered, events.into_iter());
    // Wide tables scroll by themselves.
    let html = rendered
        .replace("<table>", "<div class=\"wide\"><table>")
        .replace("</table>", "</table></div>");
    sections.retain(|section| !section.heading.is_empty() || !section.text.trim().is_empty());
    Ok(Rendered { html, headings, sections })
}

/// Returns the address of a link: pages of this site by their names, other files in the repository.
fn link(page: &Page, to: &str, sources: &BTreeMap<&str, String>) -> String {
    if to.starts_with('#') || to.contains("://") || to.starts_with("mailto:") || to.starts_with('/')
    {
        return to.to_owned();
    }
    let (path, anchor) = to
        .split_once('#')
        .map_or((to, String::new()), |(path, anchor)| (path, format!("#{anchor}")));
    let path = resolve(page.file, path);
    let pages =
        GROUPS.iter().flat_map(|(_, pages)| *pages).filter(|page| sources.contains_key(page.name));
    match pages.into_iter().find(|page| page.file == path) {
        Some(page) => format!("{}{anchor}", address(page.name)),
        None if path == "docs/openapi.json" || path == "docs/asyncapi.json" => format!("/{path}"),
        None => format!("{}/blob/main/{path}{anchor}", env!("CARGO_PKG_REPOSITORY")),
    }
}

/// Returns the path of a relative link from the root of the repository.
fn resolve(from: &str, to: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in to.split('/') {
        match part {
            "." | "" => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Returns the anchor of a heading, as code hosts derive it.
fn slug(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

fn unique(id: String, ids: &mut BTreeMap<String, usize>) -> String {
    let count = ids.entry(id.clone()).or_insert(0);
    *count += 1;
    if *count == 1 { id } else { format!("{id}-{}", *count - 1) }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Returns a text as a JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control.is_control() => _ = write!(quoted, "\\u{:04x}", u32::from(control)),
            letter => quoted.push(letter),
        }
    }
    quoted + "\""
}
