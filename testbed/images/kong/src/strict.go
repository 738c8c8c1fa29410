package main

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// strict reads YAML into structs and collects all mistakes. The tags of a field correspond to Kong's schema: `yaml` (its
// name), `default`, `required`, `one_of` (separated by spaces) and `between`.
type strict struct{ problems []error }

func (s *strict) refuse(path, format string, values ...any) {
	s.problems = append(s.problems, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, values...)))
}

func (s *strict) err() error { return errors.Join(s.problems...) }

var (
	rawNode = reflect.TypeOf(yaml.Node{})
	kinds   = map[reflect.Kind]string{
		reflect.Struct: "record", reflect.Slice: "array", reflect.String: "string",
		reflect.Bool: "boolean", reflect.Int: "integer", reflect.Float64: "number",
	}
	scalars = map[reflect.Kind][]string{
		reflect.String: {"!!str"}, reflect.Bool: {"!!bool"},
		reflect.Int: {"!!int"}, reflect.Float64: {"!!int", "!!float"},
	}
)

// read fills `into`; null counts as absent.
func (s *strict) read(node *yaml.Node, into reflect.Value, path string, tag reflect.StructTag) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch {
	case node.Tag == "!!null":
	case into.Type() == rawNode:
		into.Set(reflect.ValueOf(*node))
	case into.Kind() == reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		setDefaults(into.Elem())
		s.read(node, into.Elem(), path, tag)
	case into.Kind() == reflect.Struct && node.Kind == yaml.MappingNode:
		s.readRecord(node, into, path)
	case into.Kind() == reflect.Slice && node.Kind == yaml.SequenceNode:
		into.Set(reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content)))
		for number, element := range node.Content {
			s.read(element, into.Index(number), fmt.Sprintf("%s[%d]", path, number+1), tag)
		}
	case slices.Contains(scalars[into.Kind()], node.Tag):
		if err := node.Decode(into.Addr().Interface()); err != nil {
			s.refuse(path, "%v", err)
			return
		}
		s.check(into, path, tag)
	default:
		s.refuse(path, "expected a %s", kinds[into.Kind()])
	}
}

func (s *strict) readRecord(node *yaml.Node, into reflect.Value, path string) {
	given := map[string]bool{}
	for number := 0; number < len(node.Content); number += 2 {
		key, value := node.Content[number].Value, node.Content[number+1]
		here := strings.TrimPrefix(path+"."+key, ".")
		field, found := fieldOf(into.Type(), key)
		switch {
		case given[key]:
			s.refuse(here, "given twice")
		case !found:
			s.refuse(here, "unknown field (to Kong, or to this stand-in for it)")
		default:
			s.read(value, into.FieldByIndex(field.Index), here, field.Tag)
		}
		given[key] = true
	}
	for number := range into.NumField() {
		field := into.Type().Field(number)
		if field.Tag.Get("required") != "" && into.Field(number).IsZero() {
			s.refuse(strings.TrimPrefix(path+"."+field.Tag.Get("yaml"), "."), "required field missing")
		}
	}
}

func (s *strict) check(value reflect.Value, path string, tag reflect.StructTag) {
	if allowed := strings.Fields(tag.Get("one_of")); len(allowed) > 0 && !slices.Contains(allowed, value.String()) {
		s.refuse(path, "expected one of: %s", strings.Join(allowed, ", "))
	}
	if bounds := strings.Fields(tag.Get("between")); len(bounds) == 2 {
		low, _ := strconv.ParseFloat(bounds[0], 64)
		high, _ := strconv.ParseFloat(bounds[1], 64)
		number, _ := strconv.ParseFloat(fmt.Sprint(value.Interface()), 64)
		if number < low || number > high {
			s.refuse(path, "value should be between %s and %s", bounds[0], bounds[1])
		}
	}
}

func fieldOf(record reflect.Type, key string) (reflect.StructField, bool) {
	for number := range record.NumField() {
		if field := record.Field(number); field.Tag.Get("yaml") == key && key != "" {
			return field, true
		}
	}
	return reflect.StructField{}, false
}

// setDefaults gives every field of a record, and of the records in it, the value of its `default` tag.
func setDefaults(record reflect.Value) {
	if record.Kind() != reflect.Struct || record.Type() == rawNode {
		return
	}
	for number := range record.NumField() {
		text, has := record.Type().Field(number).Tag.Lookup("default")
		field := record.Field(number)
		switch {
		case field.Kind() == reflect.Struct:
			setDefaults(field)
		case !has:
		case field.Kind() == reflect.Slice:
			field.Set(reflect.ValueOf(strings.Fields(text)))
		case field.Kind() == reflect.String:
			field.SetString(text)
		case field.Kind() == reflect.Bool:
			field.SetBool(text == "true")
		default:
			number, _ := strconv.ParseFloat(text, 64)
			field.Set(reflect.ValueOf(number).Convert(field.Type()))
		}
	}
}
