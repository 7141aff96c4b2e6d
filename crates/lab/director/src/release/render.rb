# Fills in templates in a context like the director's. One JSON document in, one out; templates never reach a command line.
#
# in:  {"jobs": [{"name", "context": {...}, "templates": [{"source", "text"}]}]}
# out: {"jobs": [{"outputs": [text or null], "errors": [text]}]}

require 'erb'
require 'json'
require 'ostruct'
require 'yaml'
require 'base64'
require 'digest'
require 'securerandom'

module Lookup
  def self.find(tree, name)
    name.to_s.split('.').reduce(tree) do |node, key|
      return nil if node.nil?

      node[key]
    end
  end
end

class UnknownProperty < StandardError
  def initialize(names)
    super("Can't find property '#{names}'")
  end
end

class UnknownLink < StandardError
  def initialize(name)
    super("Can't find link '#{name}'")
  end
end

# Properties asked for by name, with what comes instead.
module Properties
  def p(*args)
    names = Array(args[0])
    names.each do |name|
      value = Lookup.find(property_tree, name)
      return value unless value.nil?
    end
    return args[1] if args.length == 2

    raise UnknownProperty, names
  end

  def if_p(*names)
    values = names.map { |name| Lookup.find(property_tree, name) }
    return Otherwise.new(self) if values.any?(&:nil?)

    yield(*values)
    Nothing.new
  end
end

class Otherwise
  def initialize(context)
    @context = context
  end

  def else
    yield
  end

  def else_if_p(*names, &block)
    @context.if_p(*names, &block)
  end

  def else_if_link(name, &block)
    @context.if_link(name, &block)
  end
end

class Nothing
  def else; end

  def else_if_p(*_names)
    self
  end

  def else_if_link(_name)
    self
  end
end

LinkInstance = Struct.new(:name, :index, :id, :az, :address, :properties, :bootstrap) do
  include Properties

  def property_tree
    properties || {}
  end
end

class LinkView
  include Properties

  attr_reader :instances, :properties, :instance_group, :group_name, :group_type, :default_network, :deployment_name, :domain

  def initialize(link)
    @link = link
    @properties = link['properties']
    @instance_group = link['instance_group']
    @default_network = link['default_network']
    @deployment_name = link['deployment_name']
    @domain = link['domain']
    @instances = link['instances'].map { |instance| LinkInstance.new(*LinkInstance.members.map { |key| instance[key.to_s] }) }
  end

  def property_tree
    @properties || {}
  end

  # A name that the VM's DNS resolves; a link given by hand says its own.
  def address(criteria = {})
    return @link['address'] if @link.key?('address') && !@link['address'].nil?

    query = { 'initial_health_check' => 'y', 'azs' => 'a', 'status' => 's' }
    raise NotImplementedError, 'link.address was called without a DNS domain' if @domain.nil?

    status = { 'default' => 0, 'unhealthy' => 1, 'healthy' => 3, 'all' => 4 }.fetch((criteria[:status] || criteria['status'] || 'default').to_s)
    azs = criteria[:azs] || criteria['azs'] || []
    numbers = azs.map { |az| @link['az_ids'] && @link['az_ids'][az] }.compact.sort.uniq
    "q-#{numbers.map { |number| "#{query['azs']}#{number}" }.join}#{query['status']}#{status}." \
      "#{dns(@instance_group)}.#{dns(@default_network)}.#{dns(@deployment_name)}.#{@domain}"
  end

  private

  def dns(name)
    name.to_s.downcase.tr('_', '-').gsub(/[^a-z0-9-]/, '')
  end
end

class Spec < OpenStruct
  def methods(regular = true)
    regular ? super : to_h.keys
  end
end

class Context
  include Properties

  attr_reader :name, :index, :properties, :raw_properties, :spec

  def initialize(values)
    @name = values.dig('job', 'name')
    @index = values['index']
    @raw_properties = values['properties'] || {}
    @properties = open_struct(@raw_properties, OpenStruct)
    @links = values['links'] || {}
    @spec = open_struct(values, Spec)
  end

  def get_binding
    binding
  end

  def link(name)
    found = Lookup.find(@links, name)
    raise UnknownLink, name unless found && found.key?('instances') && found['instances']

    LinkView.new(found)
  end

  def if_link(name)
    found = Lookup.find(@links, name)
    return Otherwise.new(self) unless found && found.key?('instances') && found['instances']

    yield LinkView.new(found)
    Nothing.new
  end

  private

  def property_tree
    @raw_properties
  end

  def open_struct(value, kind)
    case value
    when Hash then kind.new(value.transform_values { |inner| open_struct(inner, kind) })
    when Array then value.map { |inner| open_struct(inner, kind) }
    else value
    end
  end
end

def fill_in(job, template, values)
  erb = ERB.new(template['text'], trim_mode: '-')
  erb.filename = File.join(job, template['source'])
  erb.result(Context.new(values).get_binding)
rescue Exception => error # A template may raise anything, also a syntax error; all of it is the template's.
  raise if error.is_a?(Interrupt) || error.is_a?(SignalException)

  # Ruby names the line in the backtrace, and for a syntax error in the message.
  place = [*error.backtrace, error.message].find { |line| line.include?(erb&.filename.to_s) }
  line = place ? place[/:(\d+)/, 1] : '(unknown)'
  raise "Error filling in template '#{template['source']}' (line #{line || '(unknown)'}: #{error.message})"
end

# What a template prints is no part of the answer.
answer = $stdout.dup
$stdout.reopen($stderr)
input = JSON.parse($stdin.read, max_nesting: false)
jobs = input['jobs'].map do |job|
  errors = []
  outputs = job['templates'].map do |template|
    # Every template gets its own values: one that changes them changes nothing for the next.
    fill_in(job['name'], template, Marshal.load(Marshal.dump(job['context']))).dup.force_encoding('UTF-8').scrub
  rescue StandardError => error
    errors << error.message
    nil
  end
  { 'outputs' => outputs, 'errors' => errors }
end
answer.write(JSON.generate({ 'jobs' => jobs }))
answer.close
