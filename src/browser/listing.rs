//! What a server that knows nothing of us tells of a replica's objects: the page or JSON of a folder, the XML of a bucket.
//!
//! Names of segments are like nothing else, so they are looked for wherever they stand, and the format does not matter.

use crate::ltx::Txid;
use crate::replica::{Layout, Level, SegmentId, SegmentInfo};

/// `<first TXID>-<last TXID>` and the dot behind.
const STEM: usize = 34;

/// The segments of `level` that the index of a folder names, sorted. How long they are is told in a dozen ways, or not at all.
pub fn folder(text: &[u8], level: Level) -> Vec<SegmentId> {
    let extension = level.extension().as_bytes();
    let len = STEM.saturating_add(extension.len());
    let mut found: Vec<SegmentId> = Vec::new();
    let mut rest = text;
    while let Some(dash) = rest.iter().position(|&byte| byte == b'-') {
        let name = dash.checked_sub(16).and_then(|start| rest.get(start..));
        let name = name.and_then(|name| name.split_at_checked(len));
        // A file that is still being written has a longer name.
        let ends = |byte: &u8| !(byte.is_ascii_alphanumeric() || b"._-~%".contains(byte));
        let named = name.filter(|(_, behind)| behind.first().is_none_or(ends));
        let named = named.and_then(|(name, _)| std::str::from_utf8(name).ok());
        let id = named.and_then(|name| SegmentId::from_file_name(level, name).ok());
        // It is named once as a link and once as a text.
        found.extend(id.filter(|id| found.last() != Some(id)));
        rest = rest.get(dash.saturating_add(1)..).unwrap_or_default();
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// A page of a bucket's listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BucketPage {
    /// The segments, in the order of their keys.
    pub segments: Vec<SegmentInfo>,
    /// Where the next page starts; `None` where there is none.
    pub next: Option<String>,
}

impl BucketPage {
    /// Of the answer to ListObjectsV2, the objects of the replica whose keys start with `prefix`; `None` if it is none.
    pub fn parse(text: &[u8], prefix: &str) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (_, text) = text.split_once("<ListBucketResult")?;
        let (text, _) = text.split_once("</ListBucketResult>")?;
        let mut page = Self::default();
        for object in text.split("<Contents>").skip(1) {
            let (object, _) = object.split_once("</Contents>")?;
            let size = between(object, "Size")?.parse().ok()?;
            let id = between(object, "Key").and_then(|key| segment(key, prefix));
            page.segments.extend(id.map(|id| SegmentInfo {
                id,
                size,
                timestamp: None,
            }));
        }
        if between(text, "IsTruncated") == Some("true") {
            let next = between(text, "NextContinuationToken")?;
            page.next = Some(next.replace("&amp;", "&"));
        }
        Some(page)
    }
}

fn between<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{tag}>"))?;
    Some(rest.split_once("</")?.0)
}

fn segment(key: &str, prefix: &str) -> Option<SegmentId> {
    let (level, name) = key.strip_prefix(prefix)?.split_once('/')?;
    let level = u8::from_str_radix(level, 16).ok().and_then(Level::any)?;
    let id = SegmentId::from_file_name(level, name).ok()?;
    (id.key(Layout::Bucket).len() == key.len().checked_sub(prefix.len())?).then_some(id)
}

/// What a listing of level 0 that starts after this key tells of: segments that begin at `txid` or later.
pub fn start_after(prefix: &str, txid: Txid) -> String {
    format!("{prefix}{}{txid}", Layout::Bucket.prefix(Level::RAW))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0000000000000001-0000000000000002.ltx";
    const TWO: &str = "0000000000000003-00000000000000ff.ltx";

    fn names(text: &str) -> Vec<String> {
        let found = folder(text.as_bytes(), Level::RAW);
        found.iter().map(SegmentId::file_name).collect()
    }

    #[test]
    fn the_index_of_a_folder_is_read_as_servers_write_it() {
        for text in [
            format!("<li><a href=\"{TWO}\">{TWO}</a></li>\n<li><a href=\"{ONE}\">{ONE}</a></li>"),
            format!(
                "<a href=\"./{ONE}\">00000000000..&gt;</a> 27-Nov-2026 10:00 1\n<a href=\"/b/ltx/0/{TWO}\">x</a>"
            ),
            format!(
                r#"[{{"name":"{ONE}","type":"file","size":1}},{{"name":"{TWO}","mtime":"Fri, 27 Nov 2026"}}]"#
            ),
            format!("{ONE}\n{TWO}\n"),
            format!("{TWO} {ONE} {TWO} {ONE}"),
        ] {
            assert_eq!(names(&text), [ONE, TWO], "{text}");
        }
    }

    #[test]
    fn what_is_no_segment_is_passed_over() {
        for text in [
            "",
            "----",
            "-0000000000000002.ltx",
            "0000000000000001-0000000000000002.ltx.tmp",
            "0000000000000001-0000000000000002.ltx%2Etmp",
            "0000000000000002-0000000000000001.ltx",
            "000000000000000A-000000000000000B.ltx",
            "0000000000000001-0000000000000002.lt",
            "\u{e9}000000000000001-0000000000000002.ltx",
        ] {
            assert_eq!(names(text), [] as [String; 0], "{text}");
        }
        let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        assert_eq!(folder(&bytes, Level::RAW), []);
        let bundle = "0000000000000001-0000000000000002.bundle";
        assert_eq!(folder(bundle.as_bytes(), Level::HISTORY).len(), 1);
    }

    fn listing(objects: &[(&str, &str)], end: &str) -> String {
        let one = |(key, size): &(&str, &str)| {
            format!("<Contents><Key>{key}</Key><LastModified>x</LastModified><Size>{size}</Size></Contents>")
        };
        let objects: String = objects.iter().map(one).collect();
        format!("<?xml version=\"1.0\"?><ListBucketResult xmlns=\"x\">{objects}{end}</ListBucketResult>")
    }

    #[test]
    fn a_page_of_a_bucket_tells_the_replicas_objects_and_where_it_goes_on() {
        let (one, two) = (format!("a/b/0000/{ONE}"), format!("a/b/0009/{TWO}"));
        let objects = [
            (&*one, "10"),
            ("a/b/0000/other", "3"),
            ("a/b/c/0000/0000000000000001-0000000000000002.ltx", "4"),
            ("a/b/0/0000000000000001-0000000000000002.ltx", "5"),
            ("a/0000/0000000000000001-0000000000000002.ltx", "6"),
            (&*two, "20"),
        ];
        let end = "<IsTruncated>true</IsTruncated><NextContinuationToken>x&amp;y=</NextContinuationToken>";
        let page = BucketPage::parse(listing(&objects, end).as_bytes(), "a/b/").unwrap();
        let found: Vec<_> = page
            .segments
            .iter()
            .map(|found| (found.id.key(Layout::Bucket), found.size))
            .collect();
        assert_eq!(found, [(format!("0000/{ONE}"), 10), (format!("0009/{TWO}"), 20)]);
        assert_eq!(page.next.as_deref(), Some("x&y="));
        let last = listing(&objects, "<IsTruncated>false</IsTruncated>");
        assert_eq!(BucketPage::parse(last.as_bytes(), "a/b/").unwrap().next, None);
    }

    #[test]
    fn what_is_no_page_of_a_bucket_or_a_part_of_one_is_refused() {
        let key = format!("0000/{ONE}");
        for text in [
            "<html></html>".to_owned(),
            "<Error><Code>AccessDenied</Code></Error>".to_owned(),
            listing(&[(&key, "-1")], ""),
            listing(&[(&key, "many")], ""),
            listing(&[(&key, "1")], "<Contents><Key>"),
            listing(&[(&key, "1")], "<IsTruncated>true</IsTruncated>"),
        ] {
            assert_eq!(BucketPage::parse(text.as_bytes(), ""), None, "{text}");
        }
        let whole = listing(&[(&key, "1")], "");
        for cut in 0..whole.len() {
            assert_eq!(
                BucketPage::parse(&whole.as_bytes()[..cut], ""),
                None,
                "cut at {cut}"
            );
        }
    }
}
