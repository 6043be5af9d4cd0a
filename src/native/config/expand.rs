//! `$VAR` and `${VAR}` in values.
//!
//! Values are expanded after the file was read: whatever a variable holds, it is one value, not more YAML.

/// A text with its variables replaced, and the names of those that are not set (they stand for nothing).
pub(super) fn expand(text: &str, variable: impl Fn(&str) -> Option<String>) -> (String, Vec<String>) {
    let (mut expanded, mut missing) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let (name, after) = match after.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            Some(braced) => braced,
            None => after.split_at(after.find(|c| !is_of_name(c)).unwrap_or(after.len())),
        };
        rest = after;
        if name.is_empty() {
            expanded.push('$');
            // $$ is a dollar.
            rest = rest.strip_prefix('$').unwrap_or(rest);
            continue;
        }
        match variable(name) {
            Some(value) => expanded.push_str(&value),
            None => missing.push(name.to_owned()),
        }
    }
    expanded.push_str(rest);
    (expanded, missing)
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stand_for_what_they_hold() {
        let variable = |name: &str| match name {
            "A" => Some("a # b: $c".to_owned()),
            "B_1" => Some("two".to_owned()),
            _ => None,
        };
        for (text, expected, gone) in [
            ("$A", "a # b: $c", ""),
            ("x${B_1}y", "xtwoy", ""),
            ("/srv/$B_1/${B_1}.db", "/srv/two/two.db", ""),
            ("$NONE.db", ".db", "NONE"),
            ("${NONE}", "", "NONE"),
            ("5$", "5$", ""),
            ("a$$b", "a$b", ""),
            ("$ {A}", "$ {A}", ""),
            ("${A", "${A", ""),
            ("plain", "plain", ""),
        ] {
            let (expanded, missing) = expand(text, variable);
            assert_eq!(
                (expanded.as_str(), missing.join(",").as_str()),
                (expected, gone),
                "{text}"
            );
        }
    }
}
