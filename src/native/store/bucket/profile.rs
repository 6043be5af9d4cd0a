//! Keys in `~/.aws/credentials`, as AWS's own tools keep them.

use std::path::PathBuf;

use super::connect::Keys;

/// The keys of a profile: the one that is asked for, that `AWS_PROFILE` names, or the default one.
pub(super) fn keys(profile: Option<&str>) -> Option<Keys> {
    let file = match std::env::var_os("AWS_SHARED_CREDENTIALS_FILE") {
        Some(file) => PathBuf::from(file),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".aws/credentials"),
    };
    let named = std::env::var("AWS_PROFILE").ok();
    let profile = profile.or(named.as_deref()).unwrap_or("default");
    parse(&std::fs::read_to_string(file).ok()?, profile)
}

fn parse(text: &str, profile: &str) -> Option<Keys> {
    let head = format!("[{profile}]");
    let lines = text.lines().map(str::trim);
    let section = lines.skip_while(|line| *line != head).skip(1);
    let (mut id, mut secret, mut token) = (None, None, None);
    for line in section.take_while(|line| !line.starts_with('[')) {
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        let value = value.trim().to_owned();
        match name.trim() {
            "aws_access_key_id" => id = Some(value),
            "aws_secret_access_key" => secret = Some(value),
            "aws_session_token" => token = Some(value),
            _ => {}
        }
    }
    Some(Keys::new(id?, secret?, token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_found_among_others() {
        let text = "[default]\naws_access_key_id = A\naws_secret_access_key=a=b\n\n# mine\n[mine]\n\
            aws_access_key_id=B\naws_secret_access_key = b\naws_session_token = t\n[half]\naws_access_key_id=C\n";
        let keys = parse(text, "default").unwrap();
        assert_eq!((keys.id.as_str(), keys.secret.reveal()), ("A", "a=b"));
        assert!(keys.token.is_none());
        let keys = parse(text, "mine").unwrap();
        assert_eq!((keys.id.as_str(), keys.token.unwrap().reveal()), ("B", "t"));
        assert!(parse(text, "half").is_none());
        assert!(parse(text, "other").is_none());
    }
}
