//! `walferry man`

use clap::CommandFactory;
use clap_mangen::Man;

use super::args::Arguments;
use super::failure::{Class, Failure};
use super::output;

/// One page for the program and all its commands.
pub(super) fn run() -> Result<(), Failure> {
    let page = page().map_err(|error| Failure::new(Class::Unexpected, format!("no man page: {error}")))?;
    output::text(&page)
}

fn page() -> std::io::Result<String> {
    let mut command = Arguments::command().disable_help_flag(true);
    command.build();
    let mut page = Vec::new();
    let man = Man::new(command.clone()).manual("walferry");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for below in command.get_subcommands() {
        let name = below.get_name().to_uppercase();
        let below = below.clone().bin_name(format!("walferry {}", below.get_name()));
        let examples = below
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let man = Man::new(below.after_help("").after_long_help(""));
        let mut section = Vec::new();
        man.render_synopsis_section(&mut section)?;
        man.render_description_section(&mut section)?;
        man.render_options_section(&mut section)?;
        let section = String::from_utf8_lossy(&section)
            .replace("\n.SH ", "\n.SS ")
            .replacen(".SH ", ".SS ", 1);
        page.extend_from_slice(format!(".SH {name}\n{section}").as_bytes());
        if !examples.is_empty() {
            page.extend_from_slice(verbatim(&examples).as_bytes());
        }
    }
    man.render_extra_section(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Lines as they are, in roff.
fn verbatim(text: &str) -> String {
    let mut roff = String::from(".nf\n");
    for line in text.lines() {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        if line.starts_with(['.', '\'']) {
            roff.push_str("\\&");
        }
        roff.push_str(&line);
        roff.push('\n');
    }
    roff + ".fi\n"
}
