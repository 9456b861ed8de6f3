// Makes Azurite find rows of a table by its indexes. Loaded by `node --require` before azurite.js.
//
// Azurite 3.35 reads all rows of a partition to find one by its keys, and all rows of the table to
// answer a query. In a conversation of 10,000 messages a turn then takes more than twice as long,
// which tells nothing of Azure. The answers are the same with and without this file; where Azurite
// is built differently, this file changes nothing.

'use strict';

const path = require('path');

const COMPARISON = /^(\w+) (eq|ne|gt|ge|lt|le) ('(?:[^']|'')*'|\S+)(?: and |$)/;

/** The comparisons of a filter that asks for all of them, `[name, operator, text]`, else none. */
function readComparisons(filter) {
  const found = [];
  let rest = filter || '';
  while (rest) {
    const comparison = COMPARISON.exec(rest);
    if (!comparison) return [];
    const [all, name, operator, value] = comparison;
    if (value.startsWith("'")) found.push([name, operator, value.slice(1, -1).replace(/''/g, "'")]);
    rest = rest.slice(all.length);
  }
  return found;
}

/** What to ask the indexes for: all rows that fit the filter, and few others. */
function listSearches(filter) {
  const comparisons = readComparisons(filter);
  const find = (name, operators) =>
    (comparisons.find((one) => one[0] === name && operators.includes(one[1])) || [])[2];
  const partition = find('PartitionKey', ['eq']);
  const [from, to] = [find('RowKey', ['gt', 'ge']), find('RowKey', ['lt', 'le'])];
  const searches = partition === undefined ? [] : [['PartitionKey', '$eq', partition]];
  // The index orders numbers apart from texts. No number begins with a letter of these.
  if (from && /^[a-z]/.test(from) && to && to[0] === from[0] && from <= to) {
    searches.push(['RowKey', '$between', [from, to]]);
  }
  return searches;
}

/** The search that finds the fewest rows. */
function chooseSearch(collection, searches) {
  const sizes = searches.map(([name, operator, value]) => {
    if (!collection.adaptiveBinaryIndices) collection.ensureIndex(name);
    const [first, last] = collection.calculateRange(operator, name, value);
    return last - first;
  });
  return searches[sizes.indexOf(Math.min(...sizes))];
}

function patchCollections(collections) {
  const { findOne } = collections;
  collections.findOne = function (query) {
    const { PartitionKey, RowKey, ...others } = query || {};
    const isByKeys = [PartitionKey, RowKey].every((key) => typeof key === 'string');
    const { binaryIndices: indexes } = this;
    if (!isByKeys || Object.keys(others).length || !indexes.PartitionKey || !indexes.RowKey) {
      return findOne.call(this, query);
    }
    const searches = Object.entries({ PartitionKey, RowKey }).map(([name, key]) => [name, '$eq', key]);
    const [name, operator, value] = chooseSearch(this, searches);
    const [first, last] = this.calculateRange(operator, name, value);
    for (let place = first; place <= last; place += 1) {
      const found = this.data[indexes[name].values[place]];
      if (found.PartitionKey === PartitionKey && found.RowKey === RowKey) return found;
    }
    return null;
  };
}

function patchQueries(stores) {
  const { queryTableEntities } = stores;
  stores.queryTableEntities = function (context, account, table, options, ...next) {
    const searches = listSearches(options && options.filter);
    if (!searches.length) {
      return queryTableEntities.call(this, context, account, table, options, ...next);
    }
    const narrowed = Object.create(this);
    narrowed.getEntityCollection = (...names) => {
      const collection = this.getEntityCollection(...names);
      const [name, operator, value] = chooseSearch(collection, searches);
      return { chain: () => collection.chain().find({ [name]: { [operator]: value } }) };
    };
    return queryTableEntities.call(narrowed, context, account, table, options, ...next);
  };
}

function patch(source) {
  const Loki = require(require.resolve('lokijs', { paths: [source] }));
  const empty = new Loki('', { persistenceMethod: 'memory' }).addCollection('empty');
  const collections = Object.getPrototypeOf(empty);
  const Store = require(path.join(source, 'table/persistence/LokiTableMetadataStore.js')).default;
  const stores = Store.prototype;
  if (collections.findOne && collections.calculateRange) patchCollections(collections);
  if (stores.queryTableEntities && stores.getEntityCollection) patchQueries(stores);
}

try {
  patch(path.dirname(process.argv[1]));
} catch (error) {
  if (error.code !== 'MODULE_NOT_FOUND') throw error;
}
