use serde_json::json;

use super::*;

fn job(spec: &str, templates: &[(&str, &str)]) -> Job {
    let spec = JobSpec::parse("j", &format!("name: j\n{spec}")).unwrap();
    let templates = templates.iter().map(|(source, text)| ((*source).to_owned(), (*text).to_owned())).collect();
    Job { spec, monit: "check process <%= name %>".to_owned(), templates }
}

/// One template of a job that has properties `a.b` (default 7), `list` and `none`.
fn one(text: &str, context: &Context) -> Result<String, Vec<String>> {
    let spec = "templates: {t: t}\nproperties: {a.b: {default: 7}, list: {}, none: {}}";
    let job = job(spec, &[("t", text)]);
    let mut outcome = Renderer::default().render(&[Rendering { job: &job, context }]).unwrap();
    outcome.remove(0).map(|rendered| rendered.files.into_iter().next().unwrap().content)
}

fn context(properties: Value) -> Context {
    Context {
        deployment: "shop".into(),
        group: "web_x".into(),
        index: 2,
        id: "uuid".into(),
        az: Some("z1".into()),
        bootstrap: true,
        address: "uuid.web-x.default.shop.bosh".into(),
        networks: vec![("default".into(), Ipv4Addr::new(10, 0, 0, 4))],
        release: ("istio".into(), "0.1.0".into()),
        properties,
        ..Context::default()
    }
}

#[test]
fn properties_are_looked_up_with_defaults_and_in_lists_of_names() {
    let with = context(json!({"list": ["x", "y"], "hidden": 1}));
    assert_eq!(one("<%= p('a.b') + 1 %>", &with).unwrap(), "8");
    assert_eq!(one("<%= p(['none', 'list']).join('-') %>", &with).unwrap(), "x-y");
    assert_eq!(one("<%= p('none', 'else') %>", &with).unwrap(), "else");
    assert_eq!(one("<%= p('hidden', 'unseen') %>", &with).unwrap(), "unseen");
    assert_eq!(one("<%= properties.a.b %> <%= raw_properties['list'][0] %>", &with).unwrap(), "7 x");
    assert_eq!(one("<%= p('a.b') %>", &context(json!({"a": {"b": false}}))).unwrap(), "false");
}

#[test]
fn if_p_has_its_alternatives() {
    let text = "<% if_p('none') do |v| %>A<% end.else_if_p('a.b', 'list') do |b, l| %>B<%= b %><%= l %><% end.else do %>C<% end %>";
    assert_eq!(one(text, &context(json!({"none": 1}))).unwrap(), "A");
    assert_eq!(one(text, &context(json!({"list": 2}))).unwrap(), "B72");
    assert_eq!(one(text, &context(json!({}))).unwrap(), "C");
}

#[test]
fn the_instance_is_told_by_spec() {
    let text = "<%= [spec.ip, spec.address, spec.id, spec.index, spec.az, spec.name, spec.deployment, spec.bootstrap, \
                spec.networks.default.ip, spec.networks.methods(false), spec.dns_domain_name, spec.release.name, \
                spec.release.version, spec.job.name, spec.persistent_disk, name, index].inspect %>";
    let said = one(text, &context(json!({}))).unwrap();
    let wanted = r#"["10.0.0.4", "uuid.web-x.default.shop.bosh", "uuid", 2, "z1", "web_x", "shop", true, "10.0.0.4", [:default], "bosh", "istio", "0.1.0", "j", 0, "j", 2]"#;
    assert_eq!(said, wanted);
}

#[test]
fn links_have_instances_properties_and_an_address() {
    let mut with = context(json!({}));
    let instance = LinkInstance {
        name: "pilot".into(),
        id: "i".into(),
        address: "10.0.0.9".into(),
        az: Some("z2".into()),
        ..LinkInstance::default()
    };
    let link = Link {
        deployment_name: "my_mesh".into(),
        domain: Some("bosh".into()),
        default_network: "default".into(),
        instance_group: "pilot".into(),
        instances: Some(vec![instance]),
        properties: json!({"port": 15_010, "tls": {"on": true}}),
        az_ids: [("z1".to_owned(), 1), ("z2".to_owned(), 2)].into(),
        ..Link::default()
    };
    with.links.insert("pilot".into(), link.clone());
    with.links.insert("hand".into(), Link { address: Some("here".into()), domain: None, ..link });
    let text = "<% if_link('pilot') do |l| %><%= l.instances.map { |i| [i.name, i.address, i.az, i.index] }.inspect %> \
                <%= l.p('port') %> <% l.if_p('tls.on') do |v| %><%= v %><% end %><% end %>";
    assert_eq!(one(text, &with).unwrap(), r#"[["pilot", "10.0.0.9", "z2", 0]] 15010 true"#);
    let text = "<%= link('pilot').address %> <%= link('pilot').address(azs: ['z2', 'z1'], status: 'healthy') %> <%= link('hand').address %>";
    assert_eq!(one(text, &with).unwrap(), "q-s0.pilot.default.my-mesh.bosh q-a1a2s3.pilot.default.my-mesh.bosh here");
    assert_eq!(one("<% if_link('no') { }.else do %>none<% end %>", &with).unwrap(), "none");
    let error = one("<%= link('no').p('x') %>", &with).unwrap_err();
    assert_eq!(error, ["Error filling in template 't' (line 1: Can't find link 'no')"]);
}

#[test]
fn trim_mode_yaml_and_json_are_there() {
    assert_eq!(one("<%- [1, 2].each do |n| -%>\n<%= n %>\n<%- end -%>\n", &context(json!({}))).unwrap(), "1\n2\n");
    let text = "<%= YAML.dump('a' => p('a.b')) %><%= JSON.dump('ü' => nil) %>";
    assert_eq!(one(text, &context(json!({}))).unwrap(), "---\na: 7\n{\"ü\":null}");
}

#[test]
fn what_a_template_lacks_is_said_as_a_director_says_it() {
    let with = context(json!({}));
    let error = |text: &str| one(text, &with).unwrap_err().remove(0);
    assert_eq!(
        error("a\n\n<%= p('none') %>"),
        r#"Error filling in template 't' (line 3: Can't find property '["none"]')"#
    );
    assert_eq!(
        error("<%= p(['x.y', 'z']) %>"),
        r#"Error filling in template 't' (line 1: Can't find property '["x.y", "z"]')"#
    );
    assert_eq!(
        error("\n<% raise 'port must be a number' %>"),
        "Error filling in template 't' (line 2: port must be a number)"
    );
    assert!(
        error("<%= nope.b %>")
            .starts_with("Error filling in template 't' (line 1: undefined local variable or method `nope'")
    );
    assert!(error("<% if %>").starts_with("Error filling in template 't' (line "));
    assert!(error("<% exit 3 %>").starts_with("Error filling in template 't' (line 1: exit"));
}

#[test]
fn a_property_that_is_no_hash_is_named_without_asking_ruby() {
    let wrong = context(json!({"a": "text"}));
    assert_eq!(one("", &wrong).unwrap_err(), ["Property 'a.b' expects a hash, but received 'String'"]);
}

#[test]
fn all_errors_of_a_job_are_told_and_other_jobs_are_rendered() {
    let good = job("templates: {t: config/t}", &[("t", "<% $stdout.puts 'noise' %>ok")]);
    let bad = job("templates: {x: x, z: z}", &[("x", "<%= p('x') %>"), ("z", "<%= p('y') %>")]);
    let with = context(json!({}));
    let asked = [&good, &bad, &good].map(|job| Rendering { job, context: &with });
    let outcomes = Renderer::default().render(&asked).unwrap();
    for outcome in [&outcomes[0], &outcomes[2]] {
        let rendered = outcome.as_ref().unwrap();
        assert_eq!((rendered.name.as_str(), rendered.release.as_str()), ("j", "istio"));
        assert_eq!(rendered.monit, "check process j");
        assert_eq!(rendered.files, [RenderedFile { path: "config/t".into(), content: "ok".into() }]);
    }
    assert_eq!(outcomes[1].as_ref().unwrap_err().len(), 2);
}

#[test]
fn one_template_cannot_change_what_the_next_is_told() {
    let both = job(
        "templates: {x: x, z: z}\nproperties: {list: {default: []}}",
        &[("x", "<% p('list') << 1 %>"), ("z", "<%= p('list').size %>")],
    );
    let with = context(json!({}));
    let outcome = Renderer::default().render(&[Rendering { job: &both, context: &with }]).unwrap().remove(0).unwrap();
    assert_eq!(outcome.files[1].content, "0");
}

#[test]
fn ruby_that_is_missing_silent_or_too_slow_is_an_error() {
    let slow = job("templates: {t: t}", &[("t", "<% sleep %>")]);
    let with = context(json!({}));
    let asked = [Rendering { job: &slow, context: &with }];
    let render = |ruby: &str, patience| Renderer { ruby: ruby.into(), patience }.render(&asked).unwrap_err();
    assert!(matches!(render("ruby", Duration::from_millis(300)), RenderError::TooSlow(_)));
    assert!(matches!(render("/no/ruby", Duration::from_secs(9)), RenderError::Run { .. }));
    assert!(matches!(render("/bin/false", Duration::from_secs(9)), RenderError::NoAnswer { .. }));
}
