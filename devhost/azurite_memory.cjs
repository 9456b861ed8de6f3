// Makes Azurite need less memory. Loaded by `node --require` before azurite.js.
//
// Azurite 3.35 loads packages that it uses only with certain options, and every 5 s it writes its
// tables to disk as one text, which takes more memory than the tables. With this file, such
// packages are loaded when they are first used, and the text is written in pieces. The files on
// disk have the same form; where Azurite is built differently, this file changes nothing.

'use strict';

const fs = require('fs');
const Module = require('module');
const path = require('path');
const v8 = require('v8');

/** Node looks for garbage when its heap has grown by so much, else when it has nearly doubled. */
const HEAP_GROWTH_PERCENT = 50;
const PIECE = 1024 * 1024;

/** What Azurite loads at its start and may never use, by the names that `require` gets. */
const LAZY = new Set([
  './SqlBlobServer', // blobs in a SQL database
  './WinstonLoggerStrategy', // the debug log
  'applicationinsights', // telemetry
  'axios', // copies from other accounts
  'form-data',
  'jsonwebtoken', // OAuth
  'morgan', // the access log
  'tough-cookie',
  'tunnel',
]);

/** Something that becomes the module when it is first used. */
function makeLazy(request, load) {
  let loaded;
  const find = () => {
    if (!loaded) loaded = { module: load() };
    return loaded.module;
  };
  return new Proxy(function () {}, {
    get: (_, name) => {
      // Azurite's own modules are compiled from ES modules; asking for that uses nothing.
      if (name === '__esModule') return request.startsWith('.');
      return find()[name];
    },
    set: (_, name, value) => Reflect.set(find(), name, value),
    has: (_, name) => name in find(),
    apply: (_, self, values) => Reflect.apply(find(), self, values),
    construct: (_, values) => Reflect.construct(find(), values),
  });
}

function patchLoading() {
  const { _load } = Module;
  Module._load = function (request, ...others) {
    const load = () => _load.call(this, request, ...others);
    return LAZY.has(request) ? makeLazy(request, load) : load();
  };
}

/** The text of a database, in pieces: what `JSON.stringify` makes of it, with rows last. */
function* listPieces(database) {
  const { collections, ...others } = database;
  yield `${JSON.stringify(others, database.serializeReplacer).slice(0, -1)},"collections":[`;
  for (const [place, collection] of collections.entries()) {
    const { data, binaryIndices, idIndex, ...rest } = collection;
    const text = JSON.stringify(rest, database.serializeReplacer);
    yield `${place ? ',' : ''}${text.slice(0, -1)},"idIndex":${JSON.stringify(idIndex)},`;
    yield `"binaryIndices":${JSON.stringify(binaryIndices)},"data":[`;
    for (let row = 0; row < data.length; row += 1) {
      yield `${row ? ',' : ''}${JSON.stringify(data[row])}`;
    }
    yield ']}';
  }
  yield ']}';
}

/** Write the database as it is now. It does not change meanwhile, because nothing else runs. */
function writeDatabase(database, file) {
  const descriptor = fs.openSync(file, 'w');
  try {
    let waiting = [];
    let size = 0;
    const flush = () => {
      fs.writeFileSync(descriptor, waiting.join(''));
      waiting = [];
      size = 0;
    };
    for (const piece of listPieces(database)) {
      waiting.push(piece);
      size += piece.length;
      if (size >= PIECE) flush();
    }
    flush();
  } finally {
    fs.closeSync(descriptor);
  }
}

function patchSaving(databases) {
  const { saveDatabaseInternal } = databases;
  databases.saveDatabaseInternal = function (callback) {
    const adapter = this.persistenceAdapter;
    if (this.persistenceMethod !== 'fs' || !adapter || adapter.mode) {
      return saveDatabaseInternal.call(this, callback);
    }
    const done = callback || ((error) => {
      if (error) throw error;
    });
    const draft = `${this.filename}~`;
    try {
      writeDatabase(this, draft);
    } catch (error) {
      return done(error);
    }
    this.autosaveClearFlags();
    return fs.rename(draft, this.filename, done);
  };
}

function patch(source) {
  const Loki = require(require.resolve('lokijs', { paths: [source] }));
  const databases = Loki.prototype;
  if (databases.saveDatabaseInternal && databases.serializeReplacer) patchSaving(databases);
  patchLoading();
  v8.setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH_PERCENT}`);
}

try {
  patch(path.dirname(process.argv[1]));
} catch (error) {
  if (error.code !== 'MODULE_NOT_FOUND') throw error;
}
