use clap::{Command, CommandFactory, Parser as _};

use super::stores::NamedReplication;
use super::{Args, Command as Chosen, NamedStore};

#[test]
fn arguments_are_consistent() {
    Args::command().debug_assert();
}

/// All subcommands, those of subcommands too.
fn subcommands(command: &Command) -> Vec<&Command> {
    let direct = command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help");
    direct.flat_map(|subcommand| std::iter::once(subcommand).chain(subcommands(subcommand))).collect()
}

#[test]
fn every_flag_has_an_environment_twin() {
    let mut command = Args::command();
    command.build();
    for subcommand in subcommands(&command) {
        for flag in subcommand.get_arguments().filter(|argument| argument.get_long().is_some()) {
            let name = flag.get_long().expect("because it was filtered by it");
            if ["help", "version"].contains(&name) {
                continue;
            }
            let twin = format!("CODEKEEP_{}", name.replace('-', "_").to_uppercase());
            let expected =
                if subcommand.get_name() == "crds" && name == "output" { "CODEKEEP_CRDS_OUTPUT" } else { &twin };
            assert_eq!(
                flag.get_env().and_then(|env| env.to_str()),
                Some(expected),
                "{} --{name}",
                subcommand.get_name()
            );
        }
    }
}

#[test]
fn the_page_about_configuration_has_every_flag_with_its_variable() {
    let page = include_str!("../../../docs/configuration.md");
    let mut command = Args::command();
    command.build();
    for subcommand in subcommands(&command) {
        for flag in subcommand.get_arguments().filter(|argument| argument.get_env().is_some()) {
            let (name, variable) = (flag.get_long().unwrap_or_default(), flag.get_env().unwrap_or_default());
            let row = format!("`{}` |", variable.display());
            let row = page.lines().find(|line| line.starts_with(&format!("| `--{name}")) && line.contains(&row));
            assert!(row.is_some(), "{} --{name}", subcommand.get_name());
        }
    }
}

#[test]
fn a_store_is_named_only_before_its_scheme() {
    let plain: NamedStore = "s3://bucket/prefix?region=x&path-style=true".parse().expect("is valid");
    assert_eq!(plain.name, "default");
    let named: NamedStore = "archive=s3://bucket?region=x".parse().expect("is valid");
    assert_eq!(named.name, "archive");
    assert!("=file:data".parse::<NamedStore>().is_err());
}

#[test]
fn replication_is_of_stores_that_are_there() {
    let defaults = |flags: &[&str]| {
        let args =
            Args::try_parse_from([&["codekeep", "serve", "--manifests", "x"], flags].concat()).expect("is valid");
        let Chosen::Serve(args) = args.command else { unreachable!("because it was asked for") };
        args.stores.replication().map_err(|error| error.to_string())
    };
    let stores = ["--store", "file:a", "--store", "far=file:b"];
    let both =
        defaults(&[&stores[..], &["--store-replication", "default=Synchronous:far"]].concat()).expect("is valid");
    assert_eq!(both["default"].to_string(), "Synchronous:far");
    let unknown = defaults(&[&stores[..], &["--store-replication", "default=Asynchronous:third"]].concat());
    assert!(unknown.expect_err("is refused").contains("there is no --store third=URL"));
    for text in ["default", "default=far", "default=Synchronous:default", "default=Synchronous:far:3"] {
        assert!(text.parse::<NamedReplication>().is_err(), "{text}");
    }
}
