metadata description = 'Which containers, tables and queues does AOS keep its state in? The laptop creates the same ones (devhost/provision.py), and a test holds both equal.'

@export()
@description('Blob containers: cards in and status out, catalog and large payloads, transcripts.')
var containers = ['aos-config', 'aos-data', 'aos-logs']

@export()
@description('Tables, in the storage account or in Cosmos DB.')
var tables = [
  'aosruns'
  'aosconversations'
  'aospending'
  'aosindex'
  'aostoolcalls'
  'aostools'
  'aosusage'
  'aosfailures'
  'aosschedules'
]

@export()
@description('Storage queues.')
var queues = ['aos-jobs']
