metadata description = 'The containers, tables and queues of the state. The laptop creates the same ones (devhost/provision.py), and a test compares both lists.'

@export()
@description('Blob containers: cards and their status, catalog and large payloads, transcripts.')
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
