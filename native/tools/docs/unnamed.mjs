// A plugin of TypeDoc. The properties of an unnamed object type, as of { data } in the type of `out`, need no
// documentation: the type that they are part of has it, and TypeDoc reads no comment on them. (It asks for none within
// the type of a parameter, and refuses to be told so.)

// ReflectionKind, which can be imported from where TypeDoc is installed only.
const property = 1024;
const parameter = 32_768;

export function load(app) {
  app.converter.on('resolveEnd', ({ project }) => {
    const unnamed = project
      .getReflectionsByKind(property)
      .filter((reflection) => reflection.parent.name === '__type' && !reflection.hasComment())
      .filter((reflection) => !isWithinParameter(reflection));
    const names = new Set(unnamed.map((reflection) => reflection.getFriendlyFullName()));
    app.options.setValue('intentionallyNotDocumented', [...names]);
  });
}

function isWithinParameter({ parent }) {
  return parent !== undefined && (parent.kindOf(parameter) || isWithinParameter(parent));
}
