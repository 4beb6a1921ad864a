//! `pgset man`: the manual pages, made from the command line's own definitions.

use std::fs;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;

use super::app::App;
use crate::cli::{Cli, ManArgs};
use crate::error::{Failure, Outcome};

/// Writes one page to stdout, or all of them into a folder.
///
/// # Errors
/// There is no such command, or the folder cannot be written to.
pub fn run(app: &App, args: &ManArgs) -> Outcome {
    let pages = pages()?;
    if let Some(dir) = &args.dir {
        return write_all(app, dir, &pages);
    }
    let wanted = args.command.as_ref().map_or_else(|| "pgset.1".to_owned(), |command| format!("pgset-{command}.1"));
    match pages.iter().find(|(file, _)| *file == wanted) {
        Some((_, page)) => app.ui.data(page),
        None => Err(Failure::usage(format!("there is no command {}", args.command.as_deref().unwrap_or_default()))
            .hint("the commands: pgset --help")),
    }
}

fn write_all(app: &App, dir: &Path, pages: &[(String, String)]) -> Outcome {
    let failed = |what: &str, path: &Path, error: &std::io::Error| {
        Failure::error(format!("failed to {what} {}: {error}", path.display()))
    };
    fs::create_dir_all(dir).map_err(|error| failed("make the folder", dir, &error))?;
    for (file, page) in pages {
        let path = dir.join(file);
        fs::write(&path, page).map_err(|error| failed("write", &path, &error))?;
    }
    app.ui.say(&format!("wrote {} pages to {}", pages.len(), dir.display()));
    Ok(())
}

/// Every page with its file name, `pgset.1` first.
fn pages() -> Outcome<Vec<(String, String)>> {
    let mut command = Cli::command_as("pgset").disable_help_subcommand(true);
    command.build();
    let verbs: Vec<Command> = command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect();
    [command].into_iter().chain(verbs).map(page).collect()
}

fn page(command: Command) -> Outcome<(String, String)> {
    let man = Man::new(command).manual("pgset manual").source(concat!("pgset ", env!("CARGO_PKG_VERSION")));
    let file = man.get_filename();
    let mut text = Vec::new();
    man.render(&mut text).map_err(|error| Failure::error(format!("failed to write {file}: {error}")))?;
    Ok((file, String::from_utf8_lossy(&text).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_synopsis_options_and_examples() {
        let pages = pages().unwrap();
        let commands = Cli::command_as("pgset").get_subcommands().count();
        assert_eq!(pages.len(), commands + 1);
        assert_eq!(pages[0].0, "pgset.1");
        for (file, page) in &pages {
            let (name, _) = file.split_once('.').unwrap();
            assert!(page.contains(&format!(".TH {name} 1")), "{file}: {page}");
            for part in [".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS", "Examples:"] {
                assert!(page.contains(part), "{file} lacks {part}");
            }
        }
    }
}
