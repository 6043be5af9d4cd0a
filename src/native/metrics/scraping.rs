//! Reading the page of another walferry.

use std::io;
use std::time::Duration;

use super::Address;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// A thousand databases have a few MB.
const LONGEST: usize = 64 * 1024 * 1024;

/// The metrics of a walferry that runs.
#[derive(Debug)]
pub struct Page(String);

/// Asks for the metrics at an address.
pub async fn scrape(address: &Address) -> io::Result<Page> {
    let url = format!("http://{}/metrics", address.to_connect());
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
    let fetch = async {
        let mut response = client?.get(url).send().await?.error_for_status()?;
        let mut page = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            page.extend_from_slice(&chunk);
            if page.len() > LONGEST {
                break;
            }
        }
        Ok::<_, reqwest::Error>(page)
    };
    let page = fetch.await.map_err(io::Error::other)?;
    Ok(Page(String::from_utf8_lossy(&page).into_owned()))
}

impl Page {
    /// The sum of a metric over all series that have these labels; `None` where there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: Vec<String> = labels
            .iter()
            .map(|(label, value)| {
                let value = value
                    .replace('\\', "\\\\")
                    .replace('"', "\\\"")
                    .replace('\n', "\\n");
                format!("{label}=\"{value}\"")
            })
            .collect();
        let values = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            let labels = match labels.strip_prefix('{') {
                Some(labels) => labels.strip_suffix('}')?,
                None if labels.is_empty() => "",
                None => return None,
            };
            // Values hold no quote that is not escaped, so that a label cannot be found inside another's value.
            let has = |label: &String| {
                labels == label
                    || labels.starts_with(&format!("{label},"))
                    || labels.ends_with(&format!(",{label}"))
                    || labels.contains(&format!(",{label},"))
            };
            wanted.iter().all(has).then(|| value.parse().ok())?
        });
        values.fold(None, |sum, value: f64| Some(sum.unwrap_or(0.0) + value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_found_by_their_labels() {
        let page = Page(
            "# TYPE a counter\na_total{db=\"x\",replica=\"r\\\"1\",kind=\"PUT\"} 3.0\n\
             a_total{db=\"y\",replica=\"r\\\"1\",kind=\"PUT\"} 4.0\na_total{db=\"x\",replica=\"r2\",kind=\"PUT\"} 5.0\n\
             up 1\nup_and_more 2\n"
                .to_owned(),
        );
        assert_eq!(
            page.sum("a_total", &[("replica", "r\"1"), ("kind", "PUT")]),
            Some(7.0)
        );
        assert_eq!(page.sum("a_total", &[("db", "x")]), Some(8.0));
        assert_eq!(page.sum("a_total", &[("db", "z")]), None);
        assert_eq!(page.sum("up", &[]), Some(1.0));
    }
}
