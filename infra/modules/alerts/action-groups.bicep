metadata description = 'The action groups of the alerts. Critical alerts use mail, text message and web hook; warnings use mail.'

import { tagSet, phone } from '../types.bicep'

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Name of the group for critical alerts.')
param criticalName string

@description('Required. Name of the group for warnings.')
param warningName string

@description('Optional. Mail addresses for critical alerts.')
param criticalEmails string[] = []

@description('Optional. Phone numbers for critical alerts.')
param criticalPhones phone[] = []

@description('Optional. Web hook of a pager service for critical alerts; empty for none.')
@secure()
param criticalWebhook string = ''

@description('Optional. Mail addresses for warnings.')
param warningEmails string[] = []

func mails(addresses string[]) { name: string, emailAddress: string, useCommonAlertSchema: bool }[] =>
  map(addresses, address => { name: address, emailAddress: address, useCommonAlertSchema: true })

resource critical 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: criticalName
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'AOS critical'
    enabled: true
    emailReceivers: mails(criticalEmails)
    smsReceivers: [
      for (item, i) in criticalPhones: {
        name: 'phone-${i + 1}'
        countryCode: item.countryCode
        phoneNumber: item.phoneNumber
      }
    ]
    webhookReceivers: empty(criticalWebhook)
      ? []
      : [{ name: 'pager', serviceUri: criticalWebhook, useCommonAlertSchema: true }]
  }
}

resource warning 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: warningName
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'AOS warning'
    enabled: true
    emailReceivers: mails(warningEmails)
  }
}
