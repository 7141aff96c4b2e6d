use super::*;

fn vm(deployment: &str, group: &str, index: u32) -> InstanceName {
    InstanceName { deployment: deployment.to_owned(), group: group.to_owned(), index }
}

fn meant(written: &str, known: &[InstanceName]) -> Result<InstanceName, String> {
    let reference: InstanceRef = written.parse().unwrap();
    reference.resolve(known).cloned().map_err(|error| error.to_string())
}

#[test]
fn a_group_and_an_index_are_enough_when_one_vm_has_them() {
    let known = [vm("sample", "apricot", 0), vm("sample", "banana", 0)];
    assert_eq!(meant("banana/0", &known), Ok(vm("sample", "banana", 0)));
}

#[test]
fn a_name_that_two_deployments_have_is_refused_with_both_in_full() {
    let known = [vm("one", "web", 0), vm("two", "web", 0)];
    assert_eq!(meant("web/0", &known).unwrap_err(), "web/0 is ambiguous; write one of one/web/0, two/web/0");
    assert_eq!(meant("two/web/0", &known), Ok(vm("two", "web", 0)));
}

#[test]
fn an_unknown_name_is_answered_with_those_there_are() {
    let known = [vm("sample", "apricot", 0), vm("sample", "banana", 2)];
    assert_eq!(meant("cherry/0", &known).unwrap_err(), "there is no VM cherry/0; there are apricot/0, banana/2");
    assert!(meant("other/banana/2", &known).is_err());
    assert_eq!(meant("banana/2", &[]).unwrap_err(), "there is no VM banana/2: the lab has none at all");
}

#[test]
fn what_is_no_name_is_refused() {
    for wrong in ["", "banana", "banana/", "banana/x", "/0", "a/b/c/0", "/b/0", "a//0", "banana/-1"] {
        let error = wrong.parse::<InstanceRef>().unwrap_err();
        assert!(error.starts_with(&format!("{wrong:?} is no instance")), "{error}");
    }
}

#[test]
fn a_reference_is_shown_as_it_was_written() {
    for written in ["banana/0", "sample/banana/12"] {
        assert_eq!(written.parse::<InstanceRef>().unwrap().to_string(), written);
    }
}
